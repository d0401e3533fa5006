"""Fine-tuning a vision-language model from end to end, on the CPU and at a tiny size."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")

from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModelForImageTextToText  # noqa: E402

from test.train.tiny_vlm import run, write_fast_config, write_vqa_config  # noqa: E402
from vla_ros import config  # noqa: E402
from vla_ros.errors import ConfigError, ContractError, DatasetError  # noqa: E402
from vla_ros.policies.language_model import IGNORED  # noqa: E402
from vla_ros.processing.fast import FastTokenizer  # noqa: E402
from vla_ros.train import checkpoint  # noqa: E402
from vla_ros.train.build import build_policy, load_or_train_tokenizer  # noqa: E402
from vla_ros.train.config import TrainConfig  # noqa: E402
from vla_ros.train.vlm_config import VlmConfig  # noqa: E402
from vla_ros.train.vlm_task import VlmTask, load_data, make_task  # noqa: E402

PRESETS = Path(__file__).resolve().parents[2] / "config/train/vlm"


def load_task(path: Path, **changes: Any) -> VlmTask:
    settings = replace(config.load(path, VlmConfig), **changes)
    return make_task(settings, load_data(settings, show_progress=False))


def read_metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def fast_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of a model that has learnt a few frames by heart."""
    folder = tmp_path_factory.mktemp("fast")
    assert run(write_fast_config(folder, steps=80, validate_every=40, batch_size=12, learning_rate=5e-3)) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def vqa_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vqa")
    assert run(write_vqa_config(folder, steps=60, validate_every=30, batch_size=8, learning_rate=5e-3)) == 0
    return folder / "run"


def test_action_tokens_are_learnt_and_measured_in_si_units(fast_run: Path) -> None:
    first, last = read_metrics(fast_run)
    assert last["loss"] < 0.5 * first["loss"]
    assert last["token_accuracy"] > first["token_accuracy"]
    for name in ("val_loss", "val_token_percent", "val_translation_mm", "val_rotation_deg", "val_gripper_percent"):
        assert np.isfinite(last[name])


def test_questions_are_learnt_and_held_out_ones_answered(vqa_run: Path) -> None:
    assert read_metrics(vqa_run)[-1]["val_token_percent"] == 100.0
    assert read_metrics(vqa_run)[-1]["val_loss"] < 0.3


def test_the_run_leaves_what_is_needed_to_read_the_answers(fast_run: Path, vqa_run: Path) -> None:
    assert len(FastTokenizer.load(fast_run / "model/fast.json")) == 64
    for folder in (fast_run, fast_run / "model"):
        assert {"fast.json", "statistics.json", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    Tokenizer.from_file(str(vqa_run / "model/tokenizer.json"))
    AutoModelForImageTextToText.from_pretrained(vqa_run / "model")


@pytest.mark.parametrize("name", ["fast_run", "vqa_run"])
def test_a_policy_begins_with_the_fine_tuned_weights(name: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(name)
    weights = checkpoint.load_model(checkpoint.best(folder))
    policy_config = replace(
        config.load(folder / "train.yaml", VlmConfig).policy,
        weights=str(folder / "model"),
        backbone_config=None,
        tokenizer_vocabulary=None,
    )
    tokenizer = load_or_train_tokenizer(policy_config, [])
    policy = build_policy(policy_config, "paper", chunk_size=4, tokenizer=tokenizer, seed=0)
    found = policy.backbone.state_dict()
    assert any(key.startswith("model.visual.") for key in found)
    for key, tensor in found.items():
        assert torch.equal(tensor, weights[f"backbone.{key}"]), key


def test_a_model_is_fine_tuned_again_from_its_folder(fast_run: Path, tmp_path: Path) -> None:
    """With the vision encoder frozen, and tokens that its own vocabulary has to spare."""
    path = write_fast_config(tmp_path, steps=2, validate_every=2)
    fields = yaml.safe_load(path.read_text())
    for name in ("backbone_config", "tokenizer_vocabulary"):
        del fields["policy"][name]
    fields["policy"] |= {"weights": str(fast_run / "model"), "freeze": {"vision_encoder": True}}
    path.write_text(yaml.safe_dump(fields))
    assert run(path) == 0
    before = checkpoint.load_model(checkpoint.best(fast_run))
    after = checkpoint.load_model(checkpoint.best(tmp_path / "run"))
    assert before.keys() == after.keys()
    unchanged = {key for key in before if torch.equal(before[key], after[key])}
    assert {key for key in before if ".visual." in key} <= unchanged
    assert "backbone.model.language_model.embed_tokens.weight" not in unchanged


def test_the_same_command_goes_on_after_a_finished_run(vqa_run: Path) -> None:
    (vqa_run / "model/config.json").unlink()
    assert run(vqa_run.parent / "vqa.yaml") == 0
    assert (vqa_run / "model/config.json").exists()


def test_another_config_does_not_go_on_in_the_same_folder(
    fast_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = yaml.safe_load((fast_run.parent / "fast.yaml").read_text())
    fields["fast"]["vocabulary"] = 65
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(fields))
    assert run(tmp_path / "other.yaml") == 2
    assert "other.yaml: fast.vocabulary: expected 64 as in " in capsys.readouterr().err


def test_a_bad_line_stops_the_run_before_it_trains_or_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_vqa_config(tmp_path, steps=2)
    (tmp_path / "questions/images/6.png").unlink()
    assert run(path) == 2
    assert "questions.jsonl:7: image: expected a file, got nothing at " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert run(path, "--skip-bad") == 0
    output = capsys.readouterr().out
    assert f"left out: {tmp_path / 'questions/questions.jsonl'}:7: image: " in output
    assert "7 examples (1 left out)" in output


def test_the_answer_stands_behind_the_policys_own_prompt(tmp_path: Path) -> None:
    task = load_task(write_fast_config(tmp_path))
    batch = task.train.batch(0, 0, 1)
    ids, labels = batch["input_ids"][0], batch["labels"][0]
    answer = labels[labels != IGNORED]
    start = int(batch["positions"][0, 0]) + 1
    text = task.tokenizer.decode(ids[:start].tolist(), skip_special_tokens=False)
    assert text.endswith("place it in the basket<|im_end|>\n<|im_start|>assistant\n")
    assert torch.equal(batch["positions"][0, : len(answer)], torch.arange(start - 1, start - 1 + len(answer)))
    assert torch.equal(answer, ids[start : start + len(answer)])
    assert answer[-1] == task.tokenizer.token_to_id("<|im_end|>")
    assert (answer[:-1] >= task.tokenizer.get_vocab_size()).all()  # of no text


def test_an_update_has_the_same_examples_in_one_part_and_in_four(tmp_path: Path) -> None:
    task = load_task(write_fast_config(tmp_path))
    whole = task.train.batch(3, 0, 1)
    parts = [task.train.batch(3, part, 4) for part in range(4)]
    assert torch.equal(torch.cat([part["pixel_values"] for part in parts]), whole["pixel_values"])
    assert not torch.equal(task.train.batch(4, 0, 1)["pixel_values"], whole["pixel_values"])
    first = parts[0]["labels"]
    assert torch.equal(first, whole["labels"][:2, : first.shape[1]])


def test_a_question_is_asked_without_words_about_a_robot_arm(tmp_path: Path) -> None:
    task = load_task(write_vqa_config(tmp_path))
    text = task.tokenizer.decode(task.train.batch(0, 0, 1)["input_ids"][0].tolist(), skip_special_tokens=False)
    colour = text.split("assistant\n")[1].split("<|im_end|>")[0]
    assert f"<|vision_end|>Which colour\nis this?<|im_end|>\n<|im_start|>assistant\n{colour}<|im_end|>" in text
    assert colour in ("red", "green", "blue", "white")


def test_a_vocabulary_without_tokens_to_spare_is_refused(fast_run: Path, tmp_path: Path) -> None:
    path = write_fast_config(tmp_path)
    fields = yaml.safe_load(path.read_text())
    for name in ("backbone_config", "tokenizer_vocabulary"):
        del fields["policy"][name]
    fields["policy"]["weights"] = str(fast_run / "model")
    fields["fast"]["vocabulary"] = 300
    path.write_text(yaml.safe_dump(fields))
    complaint = r"fast.vocabulary: expected a language model with \d+ tokens to spare, got one with \d+ in all"
    with pytest.raises(ContractError, match=complaint):
        load_task(path)


def test_too_small_a_vocabulary_for_the_coefficients_is_refused(tmp_path: Path) -> None:
    settings = config.load(write_fast_config(tmp_path), VlmConfig)
    assert settings.fast is not None
    settings = replace(settings, fast=replace(settings.fast, vocabulary=8))
    with pytest.raises(ConfigError, match=r"fast.vocabulary: expected in \[41, 6400\] for chunk_size 4 and scale 10.0"):
        make_task(settings, load_data(settings, show_progress=False))


def test_a_chunk_longer_than_every_episode_is_refused(tmp_path: Path) -> None:
    settings = config.load(write_fast_config(tmp_path), VlmConfig)
    assert settings.fast is not None
    settings = replace(settings, fast=replace(settings.fast, chunk_size=13))
    with pytest.raises(ConfigError, match="chunk_size: expected at most 12, the steps of the longest episode, got 13"):
        load_data(settings, show_progress=False)


@pytest.mark.parametrize("write", [write_fast_config, write_vqa_config])
def test_parts_of_an_update_make_the_mean_over_all_its_tokens(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    for questions in tmp_path.glob("questions/*.jsonl"):
        questions.write_text(questions.read_text().replace('"red"', '"red or blue"'))
    task = load_task(path)
    module = task.module.eval()
    for step in range(20):
        batches = [task.train.batch(step, part, 4) for part in range(4)]
        if len({int((batch["labels"] != IGNORED).sum()) for batch in batches}) > 1:
            break  # else a mean of means would do
    else:
        pytest.fail("expected answers of different lengths")
    whole = module(**task.train.batch(step, 0, 1))
    for name in whole:
        mean = torch.stack([module(**batch)[name] for batch in batches]).mean()
        torch.testing.assert_close(mean, whole[name], rtol=1e-4, atol=1e-6)


def test_too_long_an_answer_is_refused_or_left_out(tmp_path: Path) -> None:
    path = write_vqa_config(tmp_path)
    questions = tmp_path / "questions/questions.jsonl"
    questions.write_text(questions.read_text().replace('"blue"', '"blue, I would say, or is it"', 1))
    settings = config.load(path, VlmConfig)
    with pytest.raises(DatasetError, match=r"questions.jsonl:3: answer: expected at most 8 tokens \(vqa.* --skip-bad"):
        load_data(settings, show_progress=False)
    short = replace(settings.policy, prompt=replace(settings.policy.prompt, max_tokens=20))
    with pytest.raises(DatasetError, match=r"questions.jsonl:1: question: expected at most 20 tokens \(policy.prompt"):
        load_data(replace(settings, policy=short), show_progress=False)
    data = load_data(settings, skip_bad=True, show_progress=False)
    assert len(data.left_out) == 1
    assert make_task(settings, data).examples == 7


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"vqa": None}, "vqa: expected exactly one of fast and vqa, got none"),
        ({"vqa": {"path": "q.jsonl", "validation_questions": 0}}, "vqa.validation_questions: expected >= 1, got 0"),
        ({"seed": -1}, "seed: expected >= 0, got -1"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    path = write_vqa_config(tmp_path, **change)
    with pytest.raises(ConfigError) as error:
        config.load(path, VlmConfig)
    assert str(error.value) == f"{path}: {complaint}"


def test_both_tasks_at_once_are_refused(tmp_path: Path) -> None:
    path = write_fast_config(tmp_path, vqa={"path": "q.jsonl", "validation_questions": 1})
    with pytest.raises(ConfigError, match="vqa: expected exactly one of fast and vqa, got both"):
        config.load(path, VlmConfig)


def test_more_validation_questions_than_there_are_is_refused(tmp_path: Path) -> None:
    path = write_vqa_config(tmp_path)
    path.write_text(path.read_text().replace("validation_questions: 4", "validation_questions: 12"))
    with pytest.raises(ConfigError, match=r"vqa.validation_questions: expected in \(0, 12\), got 12"):
        load_task(path)


def test_the_shipped_configs_load_and_belong_together() -> None:
    fast = config.load(PRESETS / "fast_libero_object.yaml", VlmConfig)
    assert config.load(PRESETS / "vqa_example.yaml", VlmConfig).vqa is not None
    after = config.load(PRESETS / "libero_object_after_fast.yaml", TrainConfig)
    assert after.policy.weights == str(fast.output / "model")
    assert after.policy.freeze.vision_encoder
    assert (after.policy.image, after.policy.prompt) == (fast.policy.image, fast.policy.prompt)
    assert fast.fast is not None
    assert (after.camera, after.action, after.chunk_size) == (fast.fast.camera, fast.fast.action, fast.fast.chunk_size)
    assert after.data.source == fast.fast.data.source
