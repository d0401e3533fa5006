"""The text around image and instruction, as each family of models knows it (VLM4VLA, app. A.2.3)."""

from dataclasses import dataclass, replace

from vla_ros.contract import TemplateName
from vla_ros.recipe import RECIPES, RecipeName

# the first names of each family are in the order of its own vocabulary: a tokenizer of ours gives them the same ids
QWEN_SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PALIGEMMA_SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<image>")
KOSMOS2_SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<image>", "</image>")

ALL_SPECIAL_TOKENS = frozenset(QWEN_SPECIAL_TOKENS + PALIGEMMA_SPECIAL_TOKENS + KOSMOS2_SPECIAL_TOKENS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One prompt but for its instruction; the ActionQueries follow its end.

    Attributes:
        before: text before the image tokens.
        image: token that holds the place of one image token.
        after: text behind the image tokens, with `{instruction}` in it.
        padding: token that fills up the sequence behind the ActionQueries.
        special_tokens: what the tokenizer must know, and an instruction must not say.
    """

    before: str
    image: str
    after: str
    padding: str
    special_tokens: tuple[str, ...]


_QWEN_LONG = Template(
    before="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>",
    image="<|image_pad|>",
    after="<|vision_end|>What action should the robotic arm take to {instruction}<|im_end|>\n<|im_start|>assistant\n",
    padding="<|endoftext|>",
    special_tokens=QWEN_SPECIAL_TOKENS,
)

TEMPLATES: dict[TemplateName, Template] = {
    "qwen_long": _QWEN_LONG,
    "qwen_short": replace(_QWEN_LONG, before="<|im_start|><|vision_start|>", after="<|vision_end|>{instruction}\n"),
    "paligemma": Template(
        before="",
        image="<image>",
        after="<bos>{instruction}\n",
        padding="<pad>",
        special_tokens=PALIGEMMA_SPECIAL_TOKENS,
    ),
    # <p> is what the paper and the code write; transformers' Kosmos-2 calls its tag <phrase>, and reads <p> as text
    "kosmos2": Template(
        before="<s><image>",
        image="<image>",
        after="</image><p>{instruction}\n</p>",
        padding="<pad>",
        special_tokens=KOSMOS2_SPECIAL_TOKENS,
    ),
}

# the authors' code tokenises with the tokenizer's own <s> and </s> around a text that has its <s> already; <image_pad>
# is no token of Kosmos-2 but text; the latents then go before everything
_KOSMOS2_IMAGE_FIRST = replace(
    TEMPLATES["kosmos2"], before="", after="<s><s><image><image_pad></image><p>{instruction}\n</p></s>"
)


def make_template(name: TemplateName, recipe: RecipeName = "paper") -> Template:
    """The template of this name, as a recipe reads it."""
    if name == "kosmos2" and RECIPES[recipe].kosmos_image == "first":
        return _KOSMOS2_IMAGE_FIRST
    return TEMPLATES[name]
