"""Action chunks as answers of a language model: FAST tokens in its own vocabulary (VLM4VLA, sec. 4.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from vla_ros.action import ARM_DIM
from vla_ros.data.augmentation import AugmentationConfig, augment
from vla_ros.data.windows import Windows
from vla_ros.errors import ContractError, DatasetError
from vla_ros.processing.fast import FastTokenizer
from vla_ros.processing.normalization import ActionNormalizer
from vla_ros.train.policy_batches import SampleEncoder
from vla_ros.train.vlm_data import spread
from vla_ros.train.vlm_prompt import Answered

MAX_TRAINING_CHUNKS = 50_000
"""The byte-pair encoding learns its patterns from so many chunks, spread evenly over the data."""


def choose_rows(tokenizer: Tokenizer, vocabulary: int, count: int, used: set[int]) -> NDArray[np.int64]:
    """Ids of the language model that FAST's tokens take, int64 [count]: the last ones, as pi0-FAST does.

    First the rows that no tokenizer uses, then the rarest merges; never special or added tokens.

    Args:
        vocabulary: rows of the word embeddings.
        used: ids that stand in prompts.

    Raises:
        ContractError: there are too few, or a prompt uses one of them.
    """
    reserved = set(tokenizer.get_added_tokens_decoder())
    free = [row for row in range(vocabulary - 1, -1, -1) if row not in reserved][:count]
    taken = sorted(used.intersection(free))
    if len(free) < count or taken:
        text = f", and its prompts use {tokenizer.id_to_token(taken[0])!r}" if taken else ""
        raise ContractError(
            f"fast.vocabulary: expected a language model with {count} tokens to spare, got one with {vocabulary} in "
            f"all{text}; name fewer"
        )
    return np.array(free, np.int64)


@dataclass(frozen=True, slots=True)
class ActionVocabulary:
    """FAST tokens as tokens of a language model.

    Attributes:
        fast: chunks to FAST's own ids.
        rows: the language model's id of each FAST id, int64 [len(fast)].
        end_id: token that ends an answer.
    """

    fast: FastTokenizer
    rows: NDArray[np.int64]
    end_id: int

    def encode(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """The answer for targets [chunk_size, 7] of an ActionNormalizer, end token included."""
        return np.append(self.rows[self.fast.encode(_centred(targets))], self.end_id)


def train_fast(windows: Windows, normalizer: ActionNormalizer, size: int, scale: float) -> FastTokenizer:
    """FAST's byte-pair encoding for the chunks of these episodes.

    Raises:
        ValueError: `size` is too small.
        DatasetError: no episode has a whole chunk.
    """
    frames = whole_chunks(windows)
    frames = frames[spread(len(frames), MAX_TRAINING_CHUNKS)]
    return FastTokenizer.train(_centred(normalizer.normalize(windows.chunks(frames))), size, scale)


def whole_chunks(windows: Windows) -> NDArray[np.int64]:
    """The frames that a whole chunk of actions follows: an answer of repeated last actions would be a lie.

    Raises:
        DatasetError: there is none.
    """
    frames = np.arange(len(windows))
    (whole,) = np.nonzero(windows.valid(frames).all(axis=1))
    if not len(whole):
        raise DatasetError("fast.chunk_size: expected at most the length of an episode, got more")
    return whole.astype(np.int64)


class ActionExamples:
    """Camera frames and instructions, answered with the FAST tokens of the chunks that follow.

    Attributes:
        frames: those of the windows that have a whole chunk, int64 [examples].
    """

    def __init__(
        self,
        windows: Windows,
        encoder: SampleEncoder,
        normalizer: ActionNormalizer,
        vocabulary: ActionVocabulary,
        augmentation: AugmentationConfig,
    ) -> None:
        self._windows, self.frames = windows, whole_chunks(windows)
        self._encoder, self._augmentation = encoder, augmentation
        self.normalizer, self.vocabulary = normalizer, vocabulary

    def __len__(self) -> int:
        return len(self.frames)

    def take(
        self, numbers: NDArray[np.int64], randoms: Sequence[np.random.Generator] | None = None
    ) -> tuple[Tensor, list[Answered]]:
        """See `Examples.take`."""
        samples = self._windows.take(self.frames[numbers])
        images = samples.images
        if randoms is not None:
            pairs = zip(images, randoms, strict=True)
            images = np.concatenate([augment(image[None], self._augmentation, random) for image, random in pairs])
        batch = self._encoder.encode(images, samples.instructions)
        targets = self.normalizer.normalize(samples.actions)
        answered = [
            Answered(ids[:query], self.vocabulary.encode(chunk))
            for ids, query, chunk in zip(
                batch["input_ids"].numpy(), batch["query_index"].tolist(), targets, strict=True
            )
        ]
        return batch["pixel_values"], answered

    def answer_tokens(self, numbers: NDArray[np.int64]) -> int:
        """See `Examples.answer_tokens`."""
        return sum(len(self.vocabulary.encode(chunk)) for chunk in self.normalizer.normalize(self.actions(numbers)))

    def actions(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """The true chunks, float32 [n, chunk_size, 7] in SI units."""
        return self._windows.chunks(self.frames[numbers])


def _centred(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """The gripper's class, 0 or 1, as -1 or 1, like the arm; as a logit it means the same."""
    chunks = targets.copy()
    chunks[..., ARM_DIM] = chunks[..., ARM_DIM] * 2 - 1
    return chunks
