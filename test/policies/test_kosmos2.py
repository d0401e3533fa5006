"""What is Kosmos-2's own: where its latents stand, what it drops out, and how far it counts."""

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from test.policies.case_kosmos2 import CASES, KOSMOS2, kosmos2_reference
from vla_ros.contract import PromptSpec
from vla_ros.errors import ConfigError
from vla_ros.policies.backbone import Backbone
from vla_ros.policies.kosmos2 import Kosmos2Backbone
from vla_ros.processing.prompt import PromptEncoder
from vla_ros.processing.tokenizer import train_tokenizer
from vla_ros.recipe import RECIPES, RecipeName

SOUP = "pick up the alphabet soup"


def prompted(recipe: RecipeName) -> tuple[Backbone, PromptEncoder]:
    """A backbone whose layout follows from the prompt, as training builds it."""
    tokenizer = train_tokenizer([SOUP], 320, "kosmos2")
    spec = PromptSpec(template="kosmos2", max_tokens=64)
    encoder = PromptEncoder(tokenizer, spec, KOSMOS2.image.image_tokens, recipe)
    layout = replace(KOSMOS2.layout, image_start=encoder.image_start, recipe=RECIPES[recipe])
    text = {**KOSMOS2.config["text_config"], "vocab_size": tokenizer.get_vocab_size()}
    torch.manual_seed(0)
    return Kosmos2Backbone.from_config({**KOSMOS2.config, "text_config": text}, layout).eval(), encoder


@pytest.mark.parametrize(("recipe", "before"), [("paper", ["<s>", "<image>"]), ("upstream", [])])
def test_the_image_stands_where_the_recipe_says(recipe: RecipeName, before: list[str]) -> None:
    backbone, encoder = prompted(recipe)
    ids = torch.from_numpy(encoder.encode(SOUP).input_ids)[None]
    pixels = KOSMOS2.inputs().pixel_values[:1]
    with torch.no_grad():
        one, other = (backbone.hidden_states(values, ids)[0] for values in (pixels, pixels.flip(1)))
    same = [torch.equal(one[position], other[position]) for position in range(len(one))]
    assert same == [True] * len(before) + [False] * (len(one) - len(before))
    words: Any = train_tokenizer([SOUP], 320, "kosmos2")
    assert [words.id_to_token(i) for i in ids[0, : len(before)].tolist()] == before


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_action_query_is_scaled_as_words_are(case: Any) -> None:
    backbone = case.build()
    inputs = case.inputs(padding=0)
    weight: Any = backbone.word_embeddings.weight
    with torch.no_grad():
        queried = backbone(inputs.pixel_values, inputs.input_ids, inputs.query_index, weight[[7]])[1, 0]
        inputs.input_ids[1, inputs.query_index[1]] = 7
        read = backbone.hidden_states(inputs.pixel_values, inputs.input_ids)[1, inputs.query_index[1]]
    torch.testing.assert_close(queried, read)


def test_training_drops_out_what_transformers_drops_out(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[tuple[float, torch.Size]] = []

    def shrink(states: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        """A dropout whose effect can be compared."""
        if not training or p == 0:
            return states
        dropped.append((p, states.shape))
        return states * (1 - p)

    monkeypatch.setattr(torch.nn.functional, "dropout", shrink)
    text = {**KOSMOS2.config["text_config"], "dropout": 0.3, "attention_dropout": 0.2, "activation_dropout": 0.1}
    case = replace(KOSMOS2, config={**KOSMOS2.config, "text_config": text})
    backbone = case.build().train()
    unmodified = case.unmodified(backbone).train()
    inputs = case.inputs(padding=0)
    hidden = backbone(inputs.pixel_values[1:], inputs.input_ids[1:], inputs.query_index[1:], inputs.queries)
    by_us = dropped.copy()
    dropped.clear()
    expected = kosmos2_reference(case, unmodified, *inputs.row(1), inputs.queries)
    assert by_us == dropped
    torch.testing.assert_close(hidden[0, 0], expected[-1], atol=3e-5, rtol=1e-5)


def test_no_part_of_the_model_is_left_unused() -> None:
    assert KOSMOS2.build().unused_modules == []


@pytest.mark.parametrize(
    ("part", "fields", "message"),
    [
        (None, {"latent_query_num": 6}, r"latent_query_num: expected 5 .*, got 6"),
        ("vision_config", {"image_size": 56}, r"vision_config.image_size: expected 42 .*, got 56"),
        ("text_config", {"layerdrop": 0.1}, r"text_config.layerdrop: expected 0 .*, got 0.1"),
        ("text_config", {"add_cross_attention": True}, r"text_config.add_cross_attention: expected False .*, got True"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(part: str | None, fields: dict[str, Any], message: str) -> None:
    config = {**KOSMOS2.config, **fields}
    if part is not None:
        config = {**KOSMOS2.config, part: {**KOSMOS2.config[part], **fields}}
    with pytest.raises(ConfigError, match=message):
        Kosmos2Backbone.from_config(config, KOSMOS2.layout)


def test_a_prompt_longer_than_the_position_table_is_refused() -> None:
    text = {**KOSMOS2.config["text_config"], "max_position_embeddings": 8}
    case = replace(KOSMOS2, config={**KOSMOS2.config, "text_config": text})
    inputs = case.inputs(padding=0)
    with pytest.raises(ConfigError, match=r"text_config.max_position_embeddings: expected room for 15 tokens, got 8"):
        case.build()(inputs.pixel_values, inputs.input_ids, inputs.query_index, inputs.queries)
