"""FAST: an action chunk as a few tokens (Pertsch et al. 2025, arXiv 2501.09747).

A discrete cosine transform of each dimension over time, rounded, low frequencies first, and a byte-pair encoding of the
integers that is learnt from the chunks of a data set.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct
from tokenizers import Tokenizer, models, trainers

from vla_ros.action import ACTION_NAMES
from vla_ros.config import read_text
from vla_ros.errors import BundleError

DIMENSIONS = len(ACTION_NAMES)

# one character per integer for the BPE: the private use area means nothing in any language
_FIRST_CHARACTER = 0xE000
_CHARACTERS = 0xF8FF - _FIRST_CHARACTER + 1


class UndecodableError(ValueError):
    """Token ids that spell no whole chunk, as an untrained model emits them."""


@dataclass(frozen=True, slots=True)
class FastTokenizer:
    """Chunks of normalised actions to token ids and back.

    Attributes:
        chunk_size: actions of one chunk.
        scale: integers per unit of a DCT coefficient; the paper's 10 is coarse, more keeps more.
        bpe: the learnt merges; its ids are 0 ... `len(self)` - 1.
    """

    chunk_size: int
    scale: float
    bpe: Tokenizer

    @classmethod
    def train(cls, chunks: NDArray[np.float32], vocabulary: int, scale: float) -> "FastTokenizer":
        """Learn the merges from chunks [n, chunk_size, 7], all in [-1, 1].

        Raises:
            ValueError: the vocabulary cannot hold every integer that a coefficient can become.
        """
        chunk_size = chunks.shape[1]
        alphabet = _alphabet(chunk_size, scale)
        if not len(alphabet) <= vocabulary <= _CHARACTERS:
            raise ValueError(
                f"vocabulary: expected in [{len(alphabet)}, {_CHARACTERS}] for chunk_size {chunk_size} and scale "
                f"{scale}, got {vocabulary}"
            )
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, min_frequency=2, initial_alphabet=alphabet, special_tokens=[], show_progress=False
        )
        bpe = Tokenizer(models.BPE())
        untrained = cls(chunk_size, scale, bpe)
        bpe.train_from_iterator((untrained._spell(chunk) for chunk in chunks), trainer)
        return untrained

    def __len__(self) -> int:
        """How many token ids there are; fewer than asked for where the chunks have too few patterns."""
        return int(self.bpe.get_vocab_size())

    @property
    def coefficients(self) -> int:
        """Integers of one chunk."""
        return self.chunk_size * DIMENSIONS

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many integers each token stands for, int64 [len(self)]."""
        return np.array([len(str(self.bpe.id_to_token(token))) for token in range(len(self))], dtype=np.int64)

    @property
    def rms_error(self) -> float:
        """The largest root mean square error over time, of one dimension of a decoded chunk, in model units."""
        return 0.5 / self.scale  # half an integer in every coefficient, and the orthonormal DCT keeps lengths

    def encode(self, chunk: NDArray[np.float32]) -> NDArray[np.int64]:
        """A chunk [chunk_size, 7] in [-1, 1] to token ids int64 [n].

        Raises:
            ValueError: another shape, or a number outside [-1, 1].
        """
        return np.array(self.bpe.encode(self._spell(chunk)).ids, dtype=np.int64)

    def decode(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Token ids to the chunk float32 [chunk_size, 7] that they stand for, within `rms_error` of the encoded one.

        Raises:
            UndecodableError: an id of none of the tokens, or too many or too few of them.
        """
        if any(not 0 <= token < len(self) for token in ids.tolist()):
            raise UndecodableError(f"expected token ids in [0, {len(self)}), got {ids.tolist()}")
        text = "".join(str(self.bpe.id_to_token(token)) for token in ids.tolist())
        if len(text) != self.coefficients:
            raise UndecodableError(f"expected {self.coefficients} coefficients, got {len(text)}")
        integers = np.array([ord(character) for character in text]) - _FIRST_CHARACTER - self._largest
        coefficients = integers.reshape(self.chunk_size, DIMENSIONS) / self.scale
        return np.asarray(idct(coefficients, axis=0, norm="ortho"), dtype=np.float32)

    def to_json(self) -> str:
        """The text of `fast.json`."""
        fields = {"chunk_size": self.chunk_size, "scale": self.scale, "bpe": json.loads(self.bpe.to_str())}
        return json.dumps(fields, indent=1) + "\n"

    @classmethod
    def load(cls, path: Path) -> "FastTokenizer":
        """Read a `fast.json`.

        Raises:
            ConfigError: the file cannot be read.
            BundleError: it is none of ours.
        """
        text = read_text(path, "FAST tokenizer")
        try:
            fields = json.loads(text)
            tokenizer = cls(
                int(fields["chunk_size"]), float(fields["scale"]), Tokenizer.from_str(json.dumps(fields["bpe"]))
            )
            known = set(tokenizer.bpe.get_vocab())
            if not known.issuperset(_alphabet(tokenizer.chunk_size, tokenizer.scale)):
                raise ValueError("a vocabulary without some of the integers")
        except Exception as error:  # the tokenizers library raises plain Exception
            raise BundleError(f"{path}: expected the JSON of a FAST tokenizer, got: {error}") from error
        return tokenizer

    @property
    def _largest(self) -> int:
        return _largest(self.chunk_size, self.scale)

    def _spell(self, chunk: NDArray[np.float32]) -> str:
        if chunk.shape != (self.chunk_size, DIMENSIONS):
            raise ValueError(f"chunk: expected [{self.chunk_size}, {DIMENSIONS}], got {list(chunk.shape)}")
        if not (np.abs(chunk) <= 1).all():
            raise ValueError(f"chunk: expected numbers in [-1, 1], got {chunk.min()} to {chunk.max()}")
        coefficients = dct(chunk.astype(np.float64), axis=0, norm="ortho") * self.scale
        integers = np.rint(coefficients).astype(np.int64) + self._largest + _FIRST_CHARACTER
        return "".join(map(chr, integers.ravel().tolist()))


def _largest(chunk_size: int, scale: float) -> int:
    # a chunk of n numbers in [-1, 1] has no coefficient beyond sqrt(n)
    return round(scale * math.sqrt(chunk_size) + 1e-6)


def _alphabet(chunk_size: int, scale: float) -> list[str]:
    return [chr(_FIRST_CHARACTER + index) for index in range(2 * _largest(chunk_size, scale) + 1)]
