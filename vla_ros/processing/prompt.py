"""Instruction to token ids."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from vla_ros.contract import PromptSpec
from vla_ros.errors import ContractError, ObservationError
from vla_ros.processing.instruction import check_instruction
from vla_ros.processing.template import ALL_SPECIAL_TOKENS, make_template
from vla_ros.recipe import RecipeName

INSTRUCTION_TOKENS = 64
"""Room for an instruction that is suggested where a config leaves none."""

PLAIN = "x"
"""An instruction that completes no token."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One tokenised prompt, padded behind the ActionQueries.

    Attributes:
        input_ids: int64 [max_tokens]; the ids of image tokens and ActionQueries only hold their places.
        query_index: position of the first ActionQuery; the others follow it.
    """

    input_ids: NDArray[np.int64]
    query_index: int


class PromptEncoder:
    """Turns instructions into prompts; training, export and the robot all use this one."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        spec: PromptSpec,
        image_tokens: int,
        recipe: RecipeName = "paper",
        queries: int = 1,
    ) -> None:
        """Raises ContractError if the tokenizer lacks a special token of the template, or no instruction would fit."""
        self._tokenizer = tokenizer
        template = make_template(spec.template, recipe)
        found = {token: tokenizer.token_to_id(token) for token in template.special_tokens}
        # a name in the vocabulary alone would be cut to pieces, and move everything behind it
        ids = {token: n for token, n in found.items() if n is not None and self._tokenize(token) == [n]}
        missing = [token for token in template.special_tokens if token not in ids]
        if missing:
            raise ContractError(f"tokenizer.json: added_tokens: expected {', '.join(missing)}, got none of that name")
        self._max_tokens = spec.max_tokens
        self._queries = queries
        self._before = template.before + template.image * image_tokens
        self._after = template.after
        self._padding_id = ids[template.padding]
        self._special_ids = frozenset(tokenizer.get_added_tokens_decoder()).union(ids.values())
        self._own_special = self._special(self._tokenize(self._fill(PLAIN)))
        self.image_start = len(self._tokenize(template.before))
        """Position of the first image token, the same for every instruction."""
        own = len(self._tokenize(self._fill(""))) + queries
        if own >= spec.max_tokens:
            raise ContractError(
                f"prompt.max_tokens: expected more than {own}, which {image_tokens} image tokens, template and "
                f"ActionQueries take, got {spec.max_tokens}; {own + INSTRUCTION_TOKENS} leaves {INSTRUCTION_TOKENS} "
                f"for the instruction"
            )

    def encode(self, instruction: str) -> Prompt:
        """Tokenise an instruction, without spaces around it, as data sets are read too.

        Raises:
            ObservationError: it is empty, too long, not plain text or would forge a part of the template.
        """
        check_instruction(instruction)
        text = instruction.strip()
        ids = self._tokenize(self._fill(text))
        self._check_no_special_token(text, ids)
        room = self._max_tokens - self._queries
        if len(ids) > room:
            raise ObservationError(
                f"instruction: tokens: expected at most {room} with the prompt's own, got {len(ids)}; a policy with "
                f"prompt.max_tokens: {len(ids) + self._queries} would read it",
                "too many tokens",
            )
        padding = [self._padding_id] * (self._max_tokens - len(ids))
        return Prompt(np.array(ids + padding, dtype=np.int64), query_index=len(ids))

    def _fill(self, instruction: str) -> str:
        return self._before + self._after.replace("{instruction}", instruction)

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _check_no_special_token(self, text: str, ids: list[int]) -> None:
        """Raises ObservationError if the text says a special token, or brings one into the prompt in any other way."""
        forged = {token for token in ALL_SPECIAL_TOKENS if token in text}
        forged.update(str(self._tokenizer.id_to_token(i)) for i in self._special(self._tokenize(text)))
        # a half of a token may also be completed by the template's own text around the slot
        if not forged and self._special(ids) != self._own_special:
            forged = {"a part of one"}
        if forged:
            raise ObservationError(
                f"instruction: expected plain text, got the special token {', '.join(sorted(forged))}", "special token"
            )

    def _special(self, ids: list[int]) -> list[int]:
        return [i for i in ids if i in self._special_ids]
