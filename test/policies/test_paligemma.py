"""What is PaliGemma's own: who sees whom, and what Gemma scales."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import save_file
from torch import Tensor

from test.policies.case import Case
from test.policies.case_paligemma import CASES, PALIGEMMA, PALIGEMMA2
from vla_ros.errors import ConfigError
from vla_ros.policies.backbone import Backbone
from vla_ros.policies.paligemma import PaliGemmaBackbone
from vla_ros.policies.pretrained import load_backbone

BOTH = pytest.mark.parametrize("case", [PALIGEMMA, PALIGEMMA2], ids=str)
EVERY = pytest.mark.parametrize("case", CASES, ids=str)
LAST_IMAGE_TOKEN = PALIGEMMA.image.image_tokens - 1


def states(backbone: Backbone, case: Case, image_token: int | None = None, word: int | None = None) -> Tensor:
    """Hidden states of one sample [tokens, hidden]; one image token's embedding or one word may be another one."""
    inputs = case.inputs(padding=0)

    def disturb(_module: Any, _arguments: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, image_token] = output[:, image_token].flip(-1)
        return output

    model: Any = backbone.model
    handle = model.multi_modal_projector.register_forward_hook(disturb) if image_token is not None else None
    if word is not None:
        inputs.input_ids[:, word] += 1
    with torch.no_grad():
        hidden = backbone.hidden_states(inputs.pixel_values, inputs.input_ids)[1]
    if handle is not None:
        handle.remove()
    return hidden


def changed(before: Tensor, after: Tensor) -> list[int]:
    return [position for position in range(len(before)) if not torch.equal(before[position], after[position])]


@BOTH
def test_image_tokens_see_later_image_tokens_in_the_paper(case: Case) -> None:
    backbone = case.build()
    before = states(backbone, case)
    assert changed(before, states(backbone, case, image_token=LAST_IMAGE_TOKEN)) == list(range(len(before)))


@BOTH
def test_image_tokens_see_earlier_ones_only_upstream(case: Case) -> None:
    backbone = case.under("upstream").build()
    before = states(backbone, case)
    after = states(backbone, case, image_token=LAST_IMAGE_TOKEN)
    assert changed(before, after) == list(range(LAST_IMAGE_TOKEN, len(before)))


@EVERY
def test_words_are_seen_by_later_words_only(case: Case) -> None:
    """transformers' processor would have the image and the whole prompt see them."""
    backbone = case.build()
    before = states(backbone, case)
    word = LAST_IMAGE_TOKEN + 3
    assert changed(before, states(backbone, case, word=word)) == list(range(word, len(before)))


def test_paligemma_2s_image_is_too_large_upstream_by_the_ratio_of_two_widths() -> None:
    """The published config says 2048 beside Gemma 2's 2304: sqrt(2304 / 2048) = 1.06."""
    inputs = PALIGEMMA2.inputs(padding=0)
    embeds = {}
    for recipe in ("paper", "upstream"):
        backbone = PALIGEMMA2.under(recipe).build()
        decoder: Any = backbone.language_model

        def keep(_module: Any, arguments: Any, recipe: str = recipe) -> None:
            embeds[recipe] = arguments[0][:, : LAST_IMAGE_TOKEN + 1]

        decoder.layers[0].register_forward_pre_hook(keep)
        with torch.no_grad():
            backbone.hidden_states(inputs.pixel_values, inputs.input_ids)
    torch.testing.assert_close(embeds["upstream"], embeds["paper"] * (24 / 20) ** 0.5)


@EVERY
def test_an_action_query_is_scaled_as_words_are(case: Case) -> None:
    backbone = case.build()
    inputs = case.inputs(padding=0)
    weight: Any = backbone.word_embeddings.weight
    with torch.no_grad():
        queried = backbone(inputs.pixel_values, inputs.input_ids, inputs.query_index, weight[[7]])[1, 0]
        inputs.input_ids[1, inputs.query_index[1]] = 7
        read = backbone.hidden_states(inputs.pixel_values, inputs.input_ids)[1, inputs.query_index[1]]
    torch.testing.assert_close(queried, read)


@EVERY
def test_no_part_of_the_model_is_left_unused(case: Case) -> None:
    assert case.build().unused_modules == []


@BOTH
def test_weights_are_found_under_the_names_that_the_hub_has(case: Case, tmp_path: Path) -> None:
    """transformers renamed its modules since the models were published."""
    torch.manual_seed(0)
    full: Any = case.full_model._from_config(PaliGemmaBackbone.read_config(case.config))
    full.save_pretrained(tmp_path)
    hub = {}
    for name, weight in full.model.state_dict().items():
        renamed = name.replace("language_model.", "language_model.model.")
        hub[renamed.replace("vision_tower.", "vision_tower.vision_model.")] = weight
    save_file(hub, tmp_path / "model.safetensors", metadata={"format": "pt"})
    backbone = load_backbone(str(tmp_path), case.config, case.layout, "paligemma", torch.float32)
    for name, weight in backbone.model.state_dict().items():
        assert torch.equal(weight, full.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("part", "fields", "message"),
    [
        (None, {"projection_dim": 32}, r"projection_dim: expected 24 \(text_config.hidden_size\), got 32"),
        ("vision_config", {"image_size": 56}, r"vision_config.image_size: expected 42 .*, got 56"),
        ("vision_config", {"vision_use_head": True}, r"vision_config.vision_use_head: expected False .*, got True"),
        ("text_config", {"model_type": "gemma3_text"}, r"text_config.model_type: expected gemma or .*, got gemma3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(part: str | None, fields: dict[str, Any], message: str) -> None:
    config = {**PALIGEMMA.config, **fields}
    if part is not None:
        config = {**PALIGEMMA.config, part: {**PALIGEMMA.config[part], **fields}}
    with pytest.raises(ConfigError, match=message):
        PaliGemmaBackbone.from_config(config, PALIGEMMA.layout)


def test_a_prompt_longer_than_gemma_2s_window_is_refused() -> None:
    text = {**PALIGEMMA2.config["text_config"], "sliding_window": 8}
    case = replace(PALIGEMMA2, config={**PALIGEMMA2.config, "text_config": text})
    with pytest.raises(ConfigError, match=r"text_config.sliding_window: expected >= 17, .* got 8"):
        states(case.build(), case)
