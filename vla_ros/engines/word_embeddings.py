"""Token ids to embeddings, on the host: a graph with the whole vocabulary in it would be a third larger."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.bundle import Bundle
from vla_ros.errors import BundleError
from vla_ros.processing.prompt import Prompt


@dataclass(frozen=True, slots=True)
class TextInput:
    """What of the prompt the graph reads.

    Attributes:
        embeds: float32 [1, tokens, hidden_size], of what follows the image with the ActionQueries; zeros behind them.
        query_index: where in `embeds` the first ActionQuery stands.
    """

    embeds: NDArray[np.float32]
    query_index: int


class WordEmbeddings:
    """The table of a bundle; only the rows that an instruction needs are read from the file."""

    def __init__(self, bundle: Bundle, image_start: int) -> None:
        """Raises BundleError if the file is no table, or the longest prompt fits into no bucket."""
        contract = bundle.contract
        self._table = bundle.embeddings()
        self._queries = contract.action_queries
        self._text_start = image_start + contract.image.image_tokens
        self._buckets = bundle.manifest.graph.buckets
        longest = contract.prompt.max_tokens - self._text_start
        if self._buckets[-1] < longest:
            raise BundleError(
                f"{bundle.path / 'manifest.json'}: graph.buckets: expected one of >= {longest} tokens, as "
                f"policy.yaml's prompt.max_tokens has behind the image, got {self._buckets[-1]}"
            )

    def look_up(self, prompt: Prompt) -> TextInput:
        """The rows of a prompt's words behind the image and of the ActionQueries, in the shortest bucket that fits.

        Raises:
            BundleError: the tokenizer knows more words than the table.
        """
        ids = prompt.input_ids[self._text_start : prompt.query_index]
        words = len(self._table) - self._queries
        if ids.size and ids.max() >= words:
            raise BundleError(f"embeddings.npy: expected a row for token {ids.max()}, got {words} rows")
        rows = np.concatenate([ids, np.arange(words, words + self._queries)])
        tokens = next(bucket for bucket in self._buckets if bucket >= len(rows))
        embeds = np.zeros((1, tokens, self._table.shape[1]), np.float32)
        embeds[0, : len(rows)] = self._table[rows]
        return TextInput(embeds, query_index=len(ids))
