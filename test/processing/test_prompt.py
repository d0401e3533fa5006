"""The one prompt path: template, padding and what is refused."""

import pytest
from tokenizers import Tokenizer

from vla_ros.contract import PromptSpec
from vla_ros.errors import ContractError, ObservationError
from vla_ros.processing.prompt import QWEN_SPECIAL_TOKENS, PromptEncoder
from vla_ros.processing.tokenizer import train_tokenizer

SOUP = "pick up the alphabet soup and place it in the basket"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([SOUP, "turn on the stove"], vocabulary=400)


@pytest.fixture(scope="module")
def encoder(tokenizer: Tokenizer) -> PromptEncoder:
    return PromptEncoder(tokenizer, PromptSpec(template="qwen_long", max_tokens=96), image_tokens=4)


def test_the_prompt_is_the_papers_text_around_the_image_tokens(encoder: PromptEncoder, tokenizer: Tokenizer) -> None:
    prompt = encoder.encode(SOUP)
    text = tokenizer.decode(prompt.input_ids[: prompt.query_index].tolist(), skip_special_tokens=False)
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        "<|image_pad|><|image_pad|><|image_pad|><|image_pad|><|vision_end|>"
        f"What action should the robotic arm take to {SOUP}<|im_end|>\n<|im_start|>assistant\n"
    )
    image_ids = prompt.input_ids[encoder.image_start : encoder.image_start + 4]
    assert set(image_ids.tolist()) == {tokenizer.token_to_id("<|image_pad|>")}


def test_the_query_follows_the_text_and_padding_follows_the_query(encoder: PromptEncoder, tokenizer: Tokenizer) -> None:
    prompt = encoder.encode("turn on the stove")
    assert prompt.input_ids.shape == (96,)
    assert set(prompt.input_ids[prompt.query_index :].tolist()) == {tokenizer.token_to_id("<|endoftext|>")}


def test_an_instruction_that_training_never_saw_still_encodes(encoder: PromptEncoder, tokenizer: Tokenizer) -> None:
    prompt = encoder.encode("öffne die Tür")
    text = tokenizer.decode(prompt.input_ids[: prompt.query_index].tolist())
    assert "take to öffne die Tür" in text


@pytest.mark.parametrize("token", QWEN_SPECIAL_TOKENS)
def test_a_special_token_in_the_instruction_is_refused(encoder: PromptEncoder, token: str) -> None:
    with pytest.raises(ObservationError, match="special token") as error:
        encoder.encode(f"pick {token} up")
    assert error.value.reason == "special token"


def test_what_is_no_instruction_is_refused(encoder: PromptEncoder) -> None:
    with pytest.raises(ObservationError, match="empty"):
        encoder.encode("")


def test_an_instruction_too_long_for_the_graph_is_refused_with_both_numbers(encoder: PromptEncoder) -> None:
    with pytest.raises(ObservationError, match=r"tokens: expected at most 95 .* got \d+") as error:
        encoder.encode("x1y2z3 " * 40)
    assert error.value.reason == "too many tokens"


def test_a_tokenizer_without_the_templates_tokens_is_refused() -> None:
    from tokenizers import models

    with pytest.raises(ContractError, match=r"<\|im_start\|>"):
        PromptEncoder(Tokenizer(models.BPE()), PromptSpec(template="qwen_long", max_tokens=96), image_tokens=4)
