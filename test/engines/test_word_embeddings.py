"""Words are looked up on the host: what the graph reads is what the policy would have embedded."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from test.tiny_policy import INSTRUCTION, reseal
from vla_ros.bundle import Bundle
from vla_ros.engines.policy_runner import PolicyRunner
from vla_ros.engines.word_embeddings import WordEmbeddings
from vla_ros.errors import BundleError
from vla_ros.export.trained import load_run


def test_embeddings_are_the_policys_own_bit_for_bit(tiny_run: Path, tiny_bundle: Path) -> None:
    trained, _ = load_run(tiny_run)
    table = WordEmbeddings(Bundle.open(tiny_bundle), trained.encoder.image_start)
    for instruction in (INSTRUCTION, "turn on the stove"):
        text = table.look_up(trained.encoder.encode(instruction))
        prompt = trained.encoder.encode(instruction)
        end = trained.encoder.image_start + trained.contract.image.image_tokens
        every = trained.policy.backbone.word_embeddings.weight.detach().numpy()
        words = every[prompt.input_ids[end : prompt.query_index]]
        np.testing.assert_array_equal(text.embeds[0, : len(words)], words)
        np.testing.assert_array_equal(text.embeds[0, text.query_index], trained.policy.action_query[0].detach().numpy())
        assert not text.embeds[0, text.query_index + 1 :].any()


def test_the_shortest_bucket_that_fits_is_taken(tiny_run: Path, tiny_bundle: Path) -> None:
    trained, _ = load_run(tiny_run)
    bundle = Bundle.open(tiny_bundle)
    table = WordEmbeddings(bundle, trained.encoder.image_start)
    exact, longest = bundle.manifest.graph.buckets
    assert table.look_up(trained.encoder.encode(INSTRUCTION)).embeds.shape[1] == exact
    long = "put " + "the soup and " * 3 + INSTRUCTION
    assert table.look_up(trained.encoder.encode(long)).embeds.shape[1] == longest


def test_an_instruction_is_looked_up_once(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = PolicyRunner.open(tiny_bundle, "onnx_cpu", threads=1)
    asked: list[object] = []
    look_up = WordEmbeddings.look_up
    monkeypatch.setattr(WordEmbeddings, "look_up", lambda self, prompt: asked.append(prompt) or look_up(self, prompt))
    for text in (INSTRUCTION, "turn on the stove", "turn on the stove", "turn on the stove"):
        runner.admit_instruction(text)
    assert len(asked) == 1


def test_buckets_that_the_longest_prompt_does_not_fit_into_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = reseal(Path(shutil.copytree(tiny_bundle, tmp_path / "bundle")), buckets=(10, 20))
    with pytest.raises(BundleError, match=r"graph\.buckets: expected one of >= \d+ tokens, as .* got 20"):
        WordEmbeddings(bundle, 20)


@pytest.mark.parametrize(
    "table", [np.zeros(5, np.float32), np.zeros((1, 24), np.float32), np.zeros((400, 24), np.int64)], ids=str
)
def test_a_table_of_another_kind_is_refused(tiny_bundle: Path, tmp_path: Path, table: np.ndarray) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    np.save(folder / "embeddings.npy", table)
    bundle = reseal(folder)
    with pytest.raises(BundleError, match=r"embeddings\.npy: expected float16 or float32 \[words, width\], got"):
        WordEmbeddings(bundle, 20)


def test_pickled_objects_are_never_loaded(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    np.save(folder / "embeddings.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    bundle = reseal(folder)
    with pytest.raises(BundleError, match=r"embeddings\.npy: expected a NumPy array, got"):
        bundle.embeddings()
