"""The one prompt path: the families' templates token by token, padding and what is refused."""

import re
import string
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from vla_ros.contract import PromptSpec, TemplateName
from vla_ros.errors import ContractError, ObservationError
from vla_ros.processing.prompt import PromptEncoder
from vla_ros.processing.template import ALL_SPECIAL_TOKENS, TEMPLATES
from vla_ros.processing.tokenizer import train_tokenizer
from vla_ros.recipe import RecipeName

SOUP = "pick up the alphabet soup and place it in the basket"
IMAGE_TOKENS = 4
NAMES: list[TemplateName] = ["qwen_long", "qwen_short", "paligemma", "kosmos2"]


def make_encoder(name: TemplateName, recipe: RecipeName = "paper", queries: int = 1) -> PromptEncoder:
    tokenizer = train_tokenizer([SOUP, "turn on the stove"], vocabulary=400, template=name)
    return PromptEncoder(tokenizer, PromptSpec(template=name, max_tokens=96), IMAGE_TOKENS, recipe, queries)


@pytest.fixture(scope="module", params=NAMES)
def encoder(request: pytest.FixtureRequest) -> PromptEncoder:
    return make_encoder(request.param)


def texts(name: TemplateName, instruction: str, recipe: RecipeName = "paper") -> tuple[str, str]:
    """The prompt as text, special tokens and all, and its image tokens."""
    tokenizer = train_tokenizer([SOUP, "turn on the stove"], vocabulary=400, template=name)
    encoder = make_encoder(name, recipe)
    prompt = encoder.encode(instruction)
    image = prompt.input_ids[encoder.image_start : encoder.image_start + IMAGE_TOKENS]
    ids = prompt.input_ids[: prompt.query_index]
    return decode(tokenizer, ids), decode(tokenizer, image)


def decode(tokenizer: Tokenizer, ids: Any) -> str:
    return tokenizer.decode(ids.tolist(), skip_special_tokens=False)


# VLM4VLA, app. A.2.3
@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        (
            "qwen_long",
            "<|image_pad|>",
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
            "<|image_pad|><|image_pad|><|image_pad|><|image_pad|><|vision_end|>"
            f"What action should the robotic arm take to {SOUP}<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "qwen_short",
            "<|image_pad|>",
            f"<|im_start|><|vision_start|><|image_pad|><|image_pad|><|image_pad|><|image_pad|><|vision_end|>{SOUP}\n",
        ),
        ("paligemma", "<image>", f"<image><image><image><image><bos>{SOUP}\n"),
        ("kosmos2", "<image>", f"<s><image><image><image><image><image></image><p>{SOUP}\n</p>"),
    ],
)
def test_the_prompt_is_the_papers_text_around_the_image_tokens(name: TemplateName, image: str, expected: str) -> None:
    assert texts(name, SOUP) == (expected, image * IMAGE_TOKENS)


def test_kosmos_image_is_first_upstream() -> None:
    """And the authors' tokenizer adds its own <s> and </s>, and knows no <image_pad>."""
    text, image = texts("kosmos2", SOUP, "upstream")
    assert text == f"<image><image><image><image><s><s><image><image_pad></image><p>{SOUP}\n</p></s>"
    assert image == "<image>" * IMAGE_TOKENS
    assert make_encoder("kosmos2", "upstream").image_start == 0
    assert make_encoder("kosmos2", "paper").image_start == 2


@pytest.mark.parametrize("name", ["qwen_long", "qwen_short", "paligemma"])
def test_other_prompts_are_the_same_upstream(name: TemplateName) -> None:
    np.testing.assert_array_equal(
        make_encoder(name, "upstream").encode(SOUP).input_ids, make_encoder(name).encode(SOUP).input_ids
    )


def test_paligemma_tokens_equal_the_official_processor() -> None:
    processor = paligemma_processor(IMAGE_TOKENS)
    official = processor(images=np.zeros((28, 28, 3), np.uint8), text=f"<image>{SOUP}")
    encoder = PromptEncoder(
        processor.tokenizer.backend_tokenizer, PromptSpec(template="paligemma", max_tokens=96), IMAGE_TOKENS
    )
    prompt = encoder.encode(SOUP)
    assert prompt.input_ids[: prompt.query_index].tolist() == list(official["input_ids"][0])
    assert set(prompt.input_ids[:IMAGE_TOKENS].tolist()) == {processor.image_token_id}


def test_kosmos2_tokens_and_image_places_equal_the_official_processor() -> None:
    processor = kosmos2_processor()
    official = processor(images=np.zeros((28, 28, 3), np.uint8), text=f"<p>{SOUP}\n</p>", num_image_tokens=IMAGE_TOKENS)
    encoder = PromptEncoder(
        processor.tokenizer.backend_tokenizer, PromptSpec(template="kosmos2", max_tokens=160), IMAGE_TOKENS
    )
    prompt = encoder.encode(SOUP)
    # the official ids at these places are any words: the model puts its latents over them
    is_image = np.array(official["image_embeds_position_mask"], bool)
    assert np.flatnonzero(is_image).tolist() == [*range(encoder.image_start, encoder.image_start + IMAGE_TOKENS)]
    ids = prompt.input_ids[: prompt.query_index]
    np.testing.assert_array_equal(ids[~is_image], np.array(official["input_ids"])[~is_image])


def test_kosmos2_upstream_text_is_what_the_official_tokenizer_makes_of_the_codes_string() -> None:
    tokenizer = kosmos2_processor().tokenizer
    official = tokenizer([f"<s><image><image_pad></image><p>{SOUP}\n</p>"])["input_ids"][0]
    encoder = PromptEncoder(
        tokenizer.backend_tokenizer, PromptSpec(template="kosmos2", max_tokens=160), IMAGE_TOKENS, "upstream"
    )
    prompt = encoder.encode(SOUP)
    assert prompt.input_ids[IMAGE_TOKENS : prompt.query_index].tolist() == list(official)


def test_the_queries_follow_the_text_and_padding_follows_the_queries() -> None:
    one, three = make_encoder("qwen_long").encode(SOUP), make_encoder("qwen_long", queries=3).encode(SOUP)
    assert one.input_ids.shape == (96,)
    assert three.query_index == one.query_index
    np.testing.assert_array_equal(three.input_ids, one.input_ids)


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_the_familys_own(name: TemplateName) -> None:
    tokenizer = train_tokenizer([SOUP], vocabulary=400, template=name)
    prompt = PromptEncoder(tokenizer, PromptSpec(template=name, max_tokens=96), IMAGE_TOKENS).encode(SOUP)
    padding = {tokenizer.id_to_token(i) for i in prompt.input_ids[prompt.query_index :]}
    assert padding == {TEMPLATES[name].padding}


@pytest.mark.parametrize("name", NAMES)
def test_an_instruction_that_training_never_saw_still_encodes(name: TemplateName) -> None:
    assert "öffne die Tür" in texts(name, "öffne die Tür")[0]


@pytest.mark.parametrize("token", sorted(ALL_SPECIAL_TOKENS))
def test_a_special_token_of_any_template_is_refused(encoder: PromptEncoder, token: str) -> None:
    with pytest.raises(ObservationError, match="special token") as error:
        encoder.encode(f"pick {token} up")
    assert error.value.reason == "special token"


def test_any_other_added_token_of_the_tokenizer_is_refused() -> None:
    processor = paligemma_processor(IMAGE_TOKENS)
    encoder = PromptEncoder(
        processor.tokenizer.backend_tokenizer, PromptSpec(template="paligemma", max_tokens=96), IMAGE_TOKENS
    )
    with pytest.raises(ObservationError, match="<loc0012>"):
        encoder.encode("pick <loc0012> up")


def test_half_a_special_token_that_the_template_would_complete_is_refused() -> None:
    tokenizer = train_tokenizer([SOUP], vocabulary=400, template="kosmos2")
    tokenizer.add_special_tokens(["<p>up"])
    encoder = PromptEncoder(tokenizer, PromptSpec(template="kosmos2", max_tokens=96), IMAGE_TOKENS)
    with pytest.raises(ObservationError, match="a part of one"):
        encoder.encode("up and away")


def test_what_is_no_instruction_is_refused(encoder: PromptEncoder) -> None:
    with pytest.raises(ObservationError, match="empty"):
        encoder.encode("")


@pytest.mark.parametrize(("queries", "room"), [(1, 95), (3, 93)])
def test_an_instruction_too_long_for_the_graph_is_refused_with_the_number_to_write(queries: int, room: int) -> None:
    tokenizer = train_tokenizer([SOUP], vocabulary=400, template="qwen_long")
    spec = PromptSpec(template="qwen_long", max_tokens=96)
    instruction = "x1y2z3 " * 40
    with pytest.raises(ObservationError, match=rf"tokens: expected at most {room} .* got \d+; .*: \d+") as error:
        PromptEncoder(tokenizer, spec, IMAGE_TOKENS, queries=queries).encode(instruction)
    assert error.value.reason == "too many tokens"
    needed = last_number(str(error.value))
    enough = PromptEncoder(tokenizer, replace(spec, max_tokens=needed), IMAGE_TOKENS, queries=queries)
    assert enough.encode(instruction).query_index == needed - queries
    with pytest.raises(ObservationError, match="at most"):
        PromptEncoder(tokenizer, replace(spec, max_tokens=needed - 1), IMAGE_TOKENS, queries=queries).encode(
            instruction
        )


@pytest.mark.parametrize("name", NAMES)
def test_more_image_tokens_than_the_prompt_may_have_are_refused_with_the_number_to_write(name: TemplateName) -> None:
    tokenizer = train_tokenizer([SOUP], vocabulary=400, template=name)
    with pytest.raises(
        ContractError, match=r"^prompt\.max_tokens: expected more than \d+, .* got 160; \d+ leaves"
    ) as error:
        PromptEncoder(tokenizer, PromptSpec(template=name, max_tokens=160), image_tokens=256)
    suggested = int(str(error.value).split("; ")[1].split()[0])
    encoder = PromptEncoder(tokenizer, PromptSpec(template=name, max_tokens=suggested), image_tokens=256)
    assert encoder.encode(SOUP).query_index < suggested


def test_spaces_around_an_instruction_do_not_matter() -> None:
    """Training reads data sets without them; an operator's terminal may add some."""
    encoder = make_encoder("qwen_long")
    np.testing.assert_array_equal(encoder.encode(f"  {SOUP} ").input_ids, encoder.encode(SOUP).input_ids)


@pytest.mark.parametrize("name", NAMES)
def test_a_tokenizer_without_the_templates_tokens_is_refused(name: TemplateName) -> None:
    with pytest.raises(ContractError, match=r"expected .*<"):
        PromptEncoder(Tokenizer(models.BPE()), PromptSpec(template=name, max_tokens=96), IMAGE_TOKENS)


def test_a_tokenizer_that_cuts_a_special_token_to_pieces_is_refused() -> None:
    vocabulary = {token: number for number, token in enumerate([*TEMPLATES["paligemma"].special_tokens, *"<image>"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>"])
    assert tokenizer.token_to_id("<image>") is not None
    with pytest.raises(ContractError, match=r"expected <image>, got none"):
        PromptEncoder(tokenizer, PromptSpec(template="paligemma", max_tokens=96), IMAGE_TOKENS)


def test_a_tokenizer_of_another_family_is_refused() -> None:
    tokenizer = train_tokenizer([SOUP], vocabulary=400, template="paligemma")
    with pytest.raises(ContractError, match=r"expected <s>, </s>, </image>, got none"):
        PromptEncoder(tokenizer, PromptSpec(template="kosmos2", max_tokens=96), IMAGE_TOKENS)


def last_number(text: str) -> int:
    return int(re.findall(r"\d+", text)[-1])


def paligemma_processor(image_tokens: int) -> Any:
    """The official processor around a tokenizer of Gemma's kind: byte fallback, spaces as marks, \\n a token."""
    transformers = pytest.importorskip("transformers")
    pil = pytest.importorskip("transformers.models.siglip.image_processing_pil_siglip")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    words = ["\n", "▁", *string.ascii_lowercase, "▁t", "up"]
    vocabulary = {token: number for number, token in enumerate([*special, *bytes_, *words])}
    tokenizer = transformers.GemmaTokenizer(vocab=vocabulary, merges=[("▁", "t"), ("u", "p")])
    tokenizer.add_tokens(["\n"])
    image_processor = pil.SiglipImageProcessorPil(size={"height": 28, "width": 28})
    image_processor.image_seq_length = image_tokens
    return transformers.PaliGemmaProcessor(image_processor, tokenizer)


def kosmos2_processor() -> Any:
    """The official processor around a tokenizer of XLM-RoBERTa's kind: unigrams, words with a mark in front."""
    transformers = pytest.importorskip("transformers")
    pil = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    letters = [(letter, -3.0) for letter in [*string.ascii_lowercase, *"▁<>/_"]]
    tokenizer = transformers.XLMRobertaTokenizer(vocab=[*special, *letters, ("▁p", -4.0), ("ck", -4.0)])
    return transformers.Kosmos2Processor(pil.CLIPImageProcessorPil(), tokenizer)
