"""Instruction to token ids."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from vla_ros.contract import PromptSpec
from vla_ros.errors import ContractError, ObservationError
from vla_ros.processing.instruction import check_instruction

IMAGE_TOKEN = "<|image_pad|>"
PAD_TOKEN = "<|endoftext|>"

QWEN_SPECIAL_TOKENS = (
    PAD_TOKEN,
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    IMAGE_TOKEN,
    "<|video_pad|>",
)

TEMPLATES = {
    "qwen_long": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>",
        "<|vision_end|>What action should the robotic arm take to {instruction}<|im_end|>\n<|im_start|>assistant\n",
    ),
    "qwen_short": ("<|im_start|><|vision_start|>", "<|vision_end|>{instruction}\n"),
}
"""Text before and after the image tokens; the ActionQuery follows the end (VLM4VLA, app. A.2.3)."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One tokenised prompt, padded behind the ActionQuery.

    Attributes:
        input_ids: int64 [max_tokens]; the id at `query_index` is a placeholder for the ActionQuery's embedding.
        query_index: position of the ActionQuery.
    """

    input_ids: NDArray[np.int64]
    query_index: int


class PromptEncoder:
    """Turns instructions into prompts; training, export and the robot all use this one."""

    def __init__(self, tokenizer: Tokenizer, spec: PromptSpec, image_tokens: int) -> None:
        """Raises ContractError if the tokenizer lacks a special token of the template."""
        missing = [token for token in QWEN_SPECIAL_TOKENS if tokenizer.token_to_id(token) is None]
        if missing:
            raise ContractError(f"tokenizer.json: added_tokens: expected {', '.join(missing)}, got none of that name")
        self._tokenizer = tokenizer
        self._spec = spec
        before, self._after = TEMPLATES[spec.template]
        self._before = before + IMAGE_TOKEN * image_tokens
        self._pad_id = tokenizer.token_to_id(PAD_TOKEN)
        self._added_ids = frozenset(tokenizer.get_added_tokens_decoder())
        self.image_start = len(tokenizer.encode(before, add_special_tokens=False).ids)
        """Position of the first image token, the same for every instruction."""

    def encode(self, instruction: str) -> Prompt:
        """Tokenise an instruction.

        Raises:
            ObservationError: it is empty, too long, not plain text or would forge a part of the template.
        """
        check_instruction(instruction)
        self._check_no_added_token(instruction)
        text = self._before + self._after.replace("{instruction}", instruction)
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) + 1 > self._spec.max_tokens:
            raise ObservationError(
                f"instruction: tokens: expected at most {self._spec.max_tokens - 1} with the prompt's own, "
                f"got {len(ids)}",
                "too many tokens",
            )
        padding = [self._pad_id] * (self._spec.max_tokens - len(ids))
        return Prompt(np.array(ids + padding, dtype=np.int64), query_index=len(ids))

    def _check_no_added_token(self, instruction: str) -> None:
        forged = self._added_ids.intersection(self._tokenizer.encode(instruction, add_special_tokens=False).ids)
        # a half of a token may also be completed by the template's own text around the slot
        around = self._tokenizer.encode(self._after.replace("{instruction}", instruction), add_special_tokens=False)
        own = self._tokenizer.encode(self._after.replace("{instruction}", "x"), add_special_tokens=False)
        if forged or self._count_added(around.ids) != self._count_added(own.ids):
            names = sorted(str(self._tokenizer.id_to_token(i)) for i in forged) or ["a part of one"]
            raise ObservationError(
                f"instruction: expected plain text, got the special token {', '.join(names)}", "special token"
            )

    def _count_added(self, ids: list[int]) -> int:
        return sum(i in self._added_ids for i in ids)
