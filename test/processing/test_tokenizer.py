"""The small byte-level BPE of policies that start from random weights."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from vla_ros.contract import TemplateName
from vla_ros.processing.template import TEMPLATES
from vla_ros.processing.tokenizer import train_tokenizer

GROCERIES = (
    "alphabet soup",
    "bbq sauce",
    "butter",
    "chocolate pudding",
    "cream cheese",
    "ketchup",
    "milk",
    "orange juice",
    "salad dressing",
    "tomato sauce",
)
"""LIBERO-Object's, in the order of the demonstrations' files."""
INSTRUCTIONS = ["pick up the alphabet soup and place it in the basket", "turn on the stove"]


@pytest.mark.parametrize("template", ["qwen_long", "paligemma", "kosmos2"])
def test_special_tokens_come_first_and_are_one_token_each(template: TemplateName) -> None:
    tokenizer = train_tokenizer(INSTRUCTIONS, 400, template)
    for number, token in enumerate(TEMPLATES[template].special_tokens):
        assert tokenizer.encode(token, add_special_tokens=False).ids == [number]


@pytest.mark.parametrize("template", ["qwen_long", "paligemma", "kosmos2"])
def test_any_text_survives_the_round_trip(template: TemplateName) -> None:
    tokenizer = train_tokenizer(INSTRUCTIONS, 400, template)
    for text in ("öffne die Tür 🚪", "  two  spaces", "x1y2\n"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_words_of_the_instructions_become_single_tokens() -> None:
    tokenizer = train_tokenizer(INSTRUCTIONS, 600, "paligemma")
    assert tokenizer.encode(" alphabet basket", add_special_tokens=False).tokens == ["Ġalphabet", "Ġbasket"]


def test_both_templates_of_qwen_share_one_tokenizer() -> None:
    long, short = (train_tokenizer(INSTRUCTIONS, 400, name) for name in ("qwen_long", "qwen_short"))
    assert long.to_str() == short.to_str()


def test_the_tokenizer_of_the_shipped_policy_is_reproduced_bit_by_bit() -> None:
    shipped = Path(__file__).parents[2] / "models" / "libero-object-ten" / "tokenizer.json"
    instructions = [f"pick up the {name} and place it in the basket" for name in GROCERIES]
    retrained = train_tokenizer(instructions, 512, "qwen_short")
    assert retrained.to_str() == Tokenizer.from_file(str(shipped)).to_str()
