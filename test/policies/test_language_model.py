"""A whole vision-language model: the same as transformers' own, in memory and on disk."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer, models  # noqa: E402
from transformers import AutoModelForImageTextToText  # noqa: E402

from test.policies.case import Case  # noqa: E402
from test.policies.cases import CASES  # noqa: E402
from vla_ros.errors import ConfigError  # noqa: E402
from vla_ros.policies.language_model import IGNORED, LanguageModel  # noqa: E402
from vla_ros.policies.pretrained import load_backbone  # noqa: E402

PAPER = [case for case in CASES if case.recipe == "paper"]
QWEN = [case for case in PAPER if case.name == "qwen3_vl"]
every_case = pytest.mark.parametrize("case", PAPER, ids=str)
every_head = pytest.mark.parametrize("is_tied", [False, True], ids=["own-head", "tied-head"])


def with_head(case: Case, is_tied: bool) -> Case:
    config = {**case.config, "tie_word_embeddings": is_tied}
    if case.family == "kosmos2":  # its language model has a say as well
        config["text_config"] = {**config["text_config"], "tie_word_embeddings": is_tied}
    return replace(case, config=config)


def build(case: Case) -> LanguageModel:
    model = LanguageModel(case.build()).eval()
    words: Any = model.backbone.word_embeddings
    if words.padding_idx is not None:
        torch.nn.init.zeros_(
            words.weight[words.padding_idx]
        )  # as training leaves it; some transformers do so on loading
    if model.head is not None:
        torch.nn.init.normal_(model.head.weight, std=0.3)
    return model


def save(model: LanguageModel, folder: Path) -> Path:
    model.save_pretrained(folder, Tokenizer(models.BPE()), {"notes.txt": "a line"})
    return folder


@every_case
@every_head
def test_transformers_reads_the_folder_and_says_the_same(case: Case, is_tied: bool, tmp_path: Path) -> None:
    case = with_head(case, is_tied)
    model = build(case)
    assert (model.head is None) == is_tied
    folder = save(model, tmp_path / "model")
    full: Any = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager")
    full.eval()
    assert type(full).__name__ == case.full_model.__name__
    inputs = case.inputs(queries=0)
    last = inputs.query_index - 1
    scores = model(inputs.pixel_values, inputs.input_ids, last[:, None])["scores"][:, 0]
    base = getattr(full, full.base_model_prefix, None) or case.unmodified(model.backbone)
    for row in range(2):
        hidden = case.reference(case, base, *inputs.row(row), inputs.queries)[-1]
        expected = full.get_output_embeddings()(hidden)
        torch.testing.assert_close(scores[row], expected, atol=1e-4, rtol=1e-4)
    theirs = full.state_dict()
    prefix = f"{full.base_model_prefix}." if full.base_model_prefix else ""
    for name, tensor in model.backbone.model.state_dict().items():
        assert torch.equal(theirs[prefix + name], tensor), name


@every_case
@every_head
def test_our_own_loader_reads_the_folder_and_says_the_same(case: Case, is_tied: bool, tmp_path: Path) -> None:
    case = with_head(case, is_tied)
    model = build(case)
    folder = save(model, tmp_path / "model")
    backbone = load_backbone(str(folder), None, case.layout, case.family, torch.float32)
    loaded = LanguageModel(backbone, str(folder)).eval()
    inputs = case.inputs(queries=0)
    last = inputs.query_index - 1
    expected = model(inputs.pixel_values, inputs.input_ids, last[:, None])["scores"][:, 0]
    assert torch.equal(loaded(inputs.pixel_values, inputs.input_ids, last[:, None])["scores"][:, 0], expected)


@every_case
def test_the_loss_is_the_cross_entropy_of_the_labelled_tokens_alone(case: Case) -> None:
    model = build(case)
    inputs = case.inputs(queries=0)
    positions = torch.tensor([[3, 4], [5, 0]])
    scores = model(inputs.pixel_values, inputs.input_ids, positions)["scores"]
    likeliest = int(scores[0, 1].argmax())
    labels = torch.tensor([[(likeliest + 1) % 64, likeliest], [9, IGNORED]])
    outputs = model(inputs.pixel_values, inputs.input_ids, positions, labels)
    said = scores.log_softmax(-1)
    expected = -(said[0, 0, labels[0, 0]] + said[0, 1, likeliest] + said[1, 0, 9]) / 3
    torch.testing.assert_close(outputs["loss"], expected)
    assert outputs["token_accuracy"].item() == pytest.approx((1 + int(scores[1, 0].argmax() == 9)) / 3)


@every_case
def test_what_follows_an_answer_changes_nothing(case: Case) -> None:
    model = build(case)
    inputs = case.inputs(queries=0)
    last = torch.tensor([inputs.input_ids.shape[1] - 4] * 2)
    changed = inputs.input_ids.clone()
    changed[:, -3:] = 3
    expected = model(inputs.pixel_values, inputs.input_ids, last[:, None])["scores"][:, 0]
    torch.testing.assert_close(model(inputs.pixel_values, changed, last[:, None])["scores"][:, 0], expected)


@pytest.mark.parametrize("case", QWEN, ids=str)
def test_a_tied_head_is_trained_through_the_word_embeddings(case: Case) -> None:
    model = LanguageModel(with_head(case, True).build())
    inputs = case.inputs(queries=0)
    labels = torch.full((2, 1), 55)  # in no prompt, so that only the head can give it a gradient
    model(inputs.pixel_values, inputs.input_ids, torch.full((2, 1), 2), labels)["loss"].backward()
    gradient = model.backbone.word_embeddings.get_parameter("weight").grad
    assert gradient is not None
    assert gradient[55].abs().sum() > 0
    assert not any("head" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("case", QWEN, ids=str)
def test_a_folder_without_the_language_head_is_refused(case: Case, tmp_path: Path) -> None:
    model = build(with_head(case, False))
    folder = save(model, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    head = weights.pop("lm_head.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"model: lm_head.weight: expected the weights of the language head, got"):
        LanguageModel(model.backbone, str(folder))
    save_file(weights | {"lm_head.weight": head[:-1].clone()}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"model.safetensors: lm_head.weight: expected \[64, 24\], got \[63, 24\]"):
        LanguageModel(model.backbone, str(folder))


@pytest.mark.parametrize("case", QWEN, ids=str)
def test_saving_again_replaces_the_folder_as_a_whole(case: Case, tmp_path: Path) -> None:
    model = build(with_head(case, True))
    folder = save(model, tmp_path / "model")
    (folder / "stale.txt").write_text("old")
    assert (folder / "notes.txt").read_text() == "a line"
    save(model, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert not (folder / "stale.txt").exists()
