"""Images and prompts with their answers as batches of tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from vla_ros.contract import ImageSpec
from vla_ros.errors import ConfigError, DatasetError
from vla_ros.processing.image import prepare_image
from vla_ros.train.build import load_or_train_tokenizer
from vla_ros.train.task import Batch
from vla_ros.train.vlm_config import VlmConfig, VqaConfig
from vla_ros.train.vlm_prompt import Answered, QuestionEncoder, collate
from vla_ros.train.vlm_questions import MEND, Question, QuestionFile


class Examples(Protocol):
    """Images and prompts with their answers, by number; pickled into worker processes."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def take(
        self, numbers: NDArray[np.int64], randoms: Sequence[np.random.Generator] | None = None
    ) -> tuple[Tensor, list[Answered]]:
        """Images float32 [n, patches, features], and what is said about them.

        Args:
            randoms: one generator for each image, to augment it; None changes nothing.

        Raises:
            DatasetError: an image cannot be read.
        """
        ...

    def answer_tokens(self, numbers: NDArray[np.int64]) -> int:
        """How many tokens their answers have, all together."""
        ...


@dataclass(frozen=True, slots=True)
class RandomBatches:
    """Random examples; those of an update depend on the seed and the update alone.

    Attributes:
        weights: how often each example is drawn, float64 [examples], summing to 1.
        pad_id: token that fills up behind answers.
    """

    examples: Examples
    weights: NDArray[np.float64]
    batch_size: int
    pad_id: int
    seed: int

    def batch(self, step: int, part: int, parts: int) -> Batch:
        """See `BatchSource.batch`."""
        cumulative = np.cumsum(self.weights)
        draws = np.random.default_rng((self.seed, step)).random(self.batch_size) * cumulative[-1]
        size = self.batch_size // parts
        mine = range(part * size, (part + 1) * size)
        drawn = np.searchsorted(cumulative, draws, side="right").astype(np.int64)
        numbers = drawn[mine.start : mine.stop]
        # one generator per example, so that it is changed alike in whichever part it is computed
        randoms = [np.random.default_rng((self.seed, step, number)) for number in mine]
        batch = make_batch(*self.examples.take(numbers, randoms), self.pad_id)
        # shares of the mean over the whole update, which has so many tokens
        share = parts / self.examples.answer_tokens(drawn)
        return batch | {"weights": torch.full((size,), share, dtype=torch.float32)}


def make_batch(pixel_values: Tensor, answered: list[Answered], pad_id: int) -> Batch:
    """The arguments of `LanguageModel.forward`."""
    return {"pixel_values": pixel_values, **collate(answered, pad_id)}


@dataclass(frozen=True, slots=True)
class QuestionExamples:
    """Questions about images; never augmented, because a shift would move what they ask about.

    Attributes:
        lines: which questions of the file, int64 [examples].
    """

    file: QuestionFile
    lines: NDArray[np.int64]
    image: ImageSpec
    encoder: QuestionEncoder

    def __len__(self) -> int:
        return len(self.lines)

    def take(
        self, numbers: NDArray[np.int64], randoms: Sequence[np.random.Generator] | None = None
    ) -> tuple[Tensor, list[Answered]]:
        """See `Examples.take`."""
        del randoms
        questions = [self.file.question(int(line)) for line in self.lines[numbers]]
        images = [prepare_image(question.read_image(), self.image) for question in questions]
        answered = [self._encode(question) for question in questions]
        return torch.from_numpy(np.concatenate(images)), answered

    def answer_tokens(self, numbers: NDArray[np.int64]) -> int:
        """See `Examples.answer_tokens`."""
        return sum(len(self._encode(self.file.question(int(line))).answer) for line in self.lines[numbers])

    def _encode(self, question: Question) -> Answered:
        return self.encoder.encode(question.question, question.answer, question.where)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionData:
    """Training and validation questions and their tokenizer.

    Attributes:
        train, validation: lines of the file, int64.
        left_out: one line for each bad one.
    """

    file: QuestionFile
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    tokenizer: Tokenizer
    encoder: QuestionEncoder
    left_out: tuple[str, ...]


def load_questions(
    config: VlmConfig, vqa: VqaConfig, skip_bad: bool = False, show_progress: bool = True
) -> QuestionData:
    """Read and check all questions, and split some off for validation.

    Args:
        skip_bad: leave bad lines out and list them, instead of stopping at the first one.
        show_progress: a bar on stderr.

    Raises:
        DatasetError: nothing to read, or a line is bad.
        ConfigError: fewer questions than are set aside for validation, or no tokenizer.
    """
    file = QuestionFile(vqa.path, skip_bad, show_progress)
    policy = config.policy
    questions = [file.question(line) for line in range(len(file))] if policy.weights is None else []
    tokenizer = load_or_train_tokenizer(policy, [text for q in questions for text in (q.question, q.answer)])
    encoder = QuestionEncoder(tokenizer, policy.prompt, policy.image.image_tokens, config.recipe, vqa.max_answer_tokens)
    lines, left_out = _fitting(file, encoder, skip_bad)
    if not vqa.validation_questions < len(lines):
        raise ConfigError(f"vqa.validation_questions: expected in (0, {len(lines)}), got {vqa.validation_questions}")
    is_held_out = np.zeros(len(lines), bool)
    is_held_out[spread(len(lines), vqa.validation_questions)] = True
    return QuestionData(
        file=file,
        train=lines[~is_held_out],
        validation=lines[is_held_out],
        tokenizer=tokenizer,
        encoder=encoder,
        left_out=(*file.left_out, *left_out),
    )


def spread(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` numbers, spread evenly over `count`."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _fitting(file: QuestionFile, encoder: QuestionEncoder, skip_bad: bool) -> tuple[NDArray[np.int64], list[str]]:
    """The lines that are not too long, and what is wrong with the others."""
    lines, left_out = [], []
    for line in range(len(file)):
        question = file.question(line)
        try:
            encoder.encode(question.question, question.answer, question.where)
            lines.append(line)
        except DatasetError as error:
            if not skip_bad:
                raise DatasetError(f"{error}{MEND}") from error
            left_out.append(str(error))
    return np.array(lines, np.int64), left_out
