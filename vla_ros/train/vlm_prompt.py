"""Prompts with their answers: what a language model reads, and what of it it learns to say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from vla_ros.contract import PromptSpec, TemplateName
from vla_ros.errors import ContractError, DatasetError
from vla_ros.policies.language_model import IGNORED
from vla_ros.processing.template import Template, make_template
from vla_ros.recipe import RecipeName
from vla_ros.train.task import Batch

_END_TOKENS: dict[TemplateName, str] = {
    "qwen_long": "<|im_end|>",
    "qwen_short": "<|im_end|>",
    "paligemma": "<eos>",
    "kosmos2": "</s>",
}

_QUESTIONS_AFTER = {"qwen_long": "<|vision_end|>{instruction}<|im_end|>\n<|im_start|>assistant\n"}
"""What stands behind the image where a question may be anything; the others' templates add no words to it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt and the answer to it.

    Attributes:
        prompt: token ids int64 [n] of everything in front of the answer, image tokens included.
        answer: token ids int64 [m > 0], the end token included.
    """

    prompt: NDArray[np.int64]
    answer: NDArray[np.int64]


def end_token_id(tokenizer: Tokenizer, spec: PromptSpec) -> int:
    """The token that ends an answer, as the family was pretrained; ContractError if there is none."""
    return _token_id(tokenizer, _END_TOKENS[spec.template])


def pad_token_id(tokenizer: Tokenizer, spec: PromptSpec) -> int:
    """What fills up behind an answer; ContractError if there is none."""
    return _token_id(tokenizer, make_template(spec.template).padding)


def _token_id(tokenizer: Tokenizer, token: str) -> int:
    number: int | None = tokenizer.token_to_id(token)
    if number is None:
        raise ContractError(f"tokenizer.json: added_tokens: expected {token}, got none of that name")
    return number


def collate(rows: Sequence[Answered], pad_id: int) -> Batch:
    """`input_ids`, `positions` and `labels` of `LanguageModel.forward`, padded to the longest row."""
    input_ids = np.full((len(rows), max(len(row.prompt) + len(row.answer) for row in rows)), pad_id, np.int64)
    positions = np.zeros((len(rows), max(len(row.answer) for row in rows)), np.int64)
    labels = np.full_like(positions, IGNORED)
    for number, row in enumerate(rows):
        start, size = len(row.prompt), len(row.answer)
        input_ids[number, :start], input_ids[number, start : start + size] = row.prompt, row.answer
        positions[number, :size] = np.arange(start - 1, start - 1 + size)
        labels[number, :size] = row.answer
    arrays = {"input_ids": input_ids, "positions": positions, "labels": labels}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class QuestionEncoder:
    """Questions and their answers to token ids, in the family's own template."""

    def __init__(
        self, tokenizer: Tokenizer, spec: PromptSpec, image_tokens: int, recipe: RecipeName, max_answer_tokens: int
    ) -> None:
        self._tokenizer, self._max_prompt, self._max_answer = tokenizer, spec.max_tokens, max_answer_tokens
        template = question_template(spec.template, recipe)
        self._before = template.before + template.image * image_tokens
        self._after = template.after
        self._end = end_token_id(tokenizer, spec)

    def encode(self, question: str, answer: str, where: str) -> Answered:
        """Tokenise a question and its answer.

        Raises:
            DatasetError: one has too many tokens.
        """
        prompt = self._tokenize(self._before + self._after.replace("{instruction}", question))
        answered = [*self._tokenize(answer), self._end]
        limits = {
            "question": (prompt, self._max_prompt, "policy.prompt.max_tokens, with the prompt's own"),
            "answer": (answered, self._max_answer, "vqa.max_answer_tokens"),
        }
        for name, (ids, most, source) in limits.items():
            if len(ids) > most:
                raise DatasetError(f"{where}: {name}: expected at most {most} tokens ({source}), got {len(ids)}")
        return Answered(np.array(prompt, np.int64), np.array(answered, np.int64))

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def question_template(name: TemplateName, recipe: RecipeName) -> Template:
    """The template of this name without its words about a robotic arm."""
    template = make_template(name, recipe)
    return replace(template, after=_QUESTIONS_AFTER.get(name, template.after))
