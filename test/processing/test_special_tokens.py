"""Every added token of every family's tokenizer, whole and in halves, and ten thousand instructions of all sorts."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tokenizers import Tokenizer

from test.processing.test_prompt import IMAGE_TOKENS, SOUP, kosmos2_processor, paligemma_processor
from vla_ros.contract import PromptSpec, TemplateName
from vla_ros.errors import ObservationError
from vla_ros.processing.prompt import Prompt, PromptEncoder
from vla_ros.processing.template import TEMPLATES
from vla_ros.processing.tokenizer import train_tokenizer

# of Qwen2.5-VL and Qwen3-VL beyond those of the template; the words in angle brackets are no special tokens there
QWEN_SPECIAL = (
    [f"<|{part}_{side}|>" for part in ("object_ref", "box", "quad") for side in ("start", "end")]
    + [f"<|fim_{part}|>" for part in ("prefix", "middle", "suffix", "pad")]
    + ["<|repo_name|>", "<|file_sep|>"]
)
QWEN_WORDS = [f"<{slash}{word}>" for word in ("tool_call", "tool_response", "think") for slash in ("", "/")]
# of Gemma, beyond those of PaliGemma's own processor
GEMMA_WORDS = ["<2mass>", "[@BOS@]", "<start_of_turn>", "<end_of_turn>", "<unused0>", "<table>", "</h1>", "▁▁"]
INSTRUCTIONS = 10_000
SPICE = [
    "<",
    ">",
    "|",
    "</",
    "<|",
    "|>",
    "▁",
    " ",
    "  ",
    "\n",
    "\0",
    "\x7f",
    "\u202e",
    "\ufffd",
    "\ud800",
    "\uff1c",  # a wide <
    "\U0001d7d9",  # a double-struck 1
    "é",
    "́",
    "😀",
    "汤",
]


@dataclass(frozen=True)
class Family:
    """One family's prompt with a tokenizer of its kind."""

    template: TemplateName
    tokenizer: Tokenizer
    encoder: PromptEncoder

    @property
    def added(self) -> list[str]:
        """Texts of the tokenizer's added tokens."""
        return [token.content for token in self.tokenizer.get_added_tokens_decoder().values()]

    def special(self, prompt: Prompt) -> list[str]:
        """The added tokens of a prompt, in order."""
        ids = set(self.tokenizer.get_added_tokens_decoder())
        return [self.tokenizer.id_to_token(i) for i in prompt.input_ids[: prompt.query_index].tolist() if i in ids]


def make_tokenizer(template: TemplateName) -> Tokenizer:
    if template == "kosmos2":
        return kosmos2_processor().tokenizer.backend_tokenizer
    if template == "paligemma":
        tokenizer = paligemma_processor(IMAGE_TOKENS).tokenizer.backend_tokenizer
        tokenizer.add_tokens(GEMMA_WORDS)
        return tokenizer
    tokenizer = train_tokenizer([SOUP], vocabulary=400, template=template)
    tokenizer.add_special_tokens(QWEN_SPECIAL)
    tokenizer.add_tokens(QWEN_WORDS)
    return tokenizer


@pytest.fixture(scope="module", params=TEMPLATES)
def family(request: pytest.FixtureRequest) -> Family:
    tokenizer = make_tokenizer(request.param)
    spec = PromptSpec(template=request.param, max_tokens=512)
    return Family(request.param, tokenizer, PromptEncoder(tokenizer, spec, IMAGE_TOKENS))


def refusal(family: Family, instruction: str) -> str:
    """Why an instruction is refused, one line; empty if it is admitted, and then it adds no special token."""
    try:
        prompt = family.encoder.encode(instruction)
    except ObservationError as error:
        text = str(error)
        assert text.startswith("instruction: ")
        assert text.isprintable()
        assert len(text) < 500
        return text
    assert family.special(prompt) == family.special(family.encoder.encode(SOUP))
    return ""


def test_every_added_token_of_the_tokenizer_is_refused_wherever_it_stands(family: Family) -> None:
    assert len(family.added) > 15
    for token in family.added:
        for instruction in (token, f"pick {token} up", f"pick{token}", f"{token}up"):
            assert refusal(family, instruction), instruction


def halves(family: Family) -> Iterator[str]:
    """What is left of every added token where the template's own text might bring the rest.

    Of thousands that differ in their number alone, one stands for all.
    """
    seen: set[str] = set()
    for token in {re.sub(r"\d+", "#", token): token for token in family.added}.values():
        for cut in range(1, len(token)):
            for instruction in (f"pick up {token[:cut]}", f"{token[cut:]} pick up", token[:cut], token[cut:]):
                if instruction not in seen:
                    seen.add(instruction)
                    yield instruction


def test_no_half_of_an_added_token_makes_another_one_with_the_templates_text(family: Family) -> None:
    assert sum(not refusal(family, instruction) for instruction in halves(family)) > 10


def test_a_half_that_the_templates_text_completes_is_refused(family: Family) -> None:
    """Of a token that nobody has yet: the last word of an instruction and what the template says behind it."""
    behind = TEMPLATES[family.template].after.split("{instruction}")[1]
    tokenizer = make_tokenizer(family.template)
    tokenizer.add_special_tokens([f"soup{behind[0]}"])
    spec = PromptSpec(template=family.template, max_tokens=512)
    encoder = PromptEncoder(tokenizer, spec, IMAGE_TOKENS)
    encoder.encode("pick the soup up")
    with pytest.raises(ObservationError, match="special token a part of one"):
        encoder.encode("pick up the soup")


def instructions(family: Family, count: int) -> Iterator[str]:
    """Words, tokens and their pieces, and characters from the whole of Unicode, seeded."""
    chance = random.Random(f"{family.template}")
    added = family.added
    for _ in range(count):
        parts: list[str] = []
        for _ in range(chance.randint(0, 8)):
            token = chance.choice(added)
            parts.append(
                chance.choice(
                    [
                        chance.choice(SOUP.split()),
                        token if chance.random() < 0.2 else token[: chance.randint(0, len(token))],
                        chance.choice(SPICE),
                        chr(chance.randrange(0x110000)) if chance.random() < 0.3 else chr(chance.randrange(32, 127)),
                        chance.choice(SPICE) * chance.choice([1, 3, 400]) if chance.random() < 0.1 else " ",
                    ]
                )
            )
        yield chance.choice(["", " "]).join(parts)


def test_of_ten_thousand_instructions_each_is_admitted_as_plain_text_or_refused_in_one_line(family: Family) -> None:
    reasons = [refusal(family, text) for text in instructions(family, INSTRUCTIONS // len(TEMPLATES))]
    for found in ("special token", "got U+", "got an empty string", "expected <= 1024 bytes"):
        assert any(found in reason for reason in reasons), found
    assert sum(not reason for reason in reasons) > len(reasons) // 20
