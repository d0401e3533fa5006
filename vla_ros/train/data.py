"""From a training config to demonstrations that are checked, split and understood, before anything is trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from vla_ros.data.episode import Episode
from vla_ros.data.scan import scan
from vla_ros.data.statistics import StatisticsAccumulator
from vla_ros.data.windows import Windows
from vla_ros.errors import ConfigError
from vla_ros.processing.normalization import Statistics
from vla_ros.train.build import load_or_train_tokenizer
from vla_ros.train.config import TrainConfig
from vla_ros.train.start import load_start_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Training and validation frames, their tokenizer and the statistics of the training actions.

    Attributes:
        left_out: one line for each episode that was left out as bad.
    """

    train: Windows
    validation: Windows
    tokenizer: Tokenizer
    statistics: Statistics
    left_out: tuple[str, ...]

    @property
    def companions(self) -> dict[str, str]:
        """The texts of `statistics.json` and `tokenizer.json`."""
        return {"statistics.json": self.statistics.to_json(), "tokenizer.json": self.tokenizer.to_str(pretty=True)}


def load_data(config: TrainConfig, skip_bad: bool = False, show_progress: bool = True) -> TrainingData:
    """Read and check all actions and instructions, and split off whole episodes for validation.

    Args:
        skip_bad: leave bad episodes out and list them, instead of stopping at the first one.
        show_progress: a bar on stderr.

    Raises:
        DatasetError: nothing to read, or an episode is bad.
        ContractError, ObservationError: the data set's actions or images are not those of the config.
        ConfigError: fewer episodes than are set aside for validation, or none as long as a chunk.
    """
    dataset = config.data.source.open()
    dataset.action.check_same(config.action, dataset.source, "action")
    found = scan(dataset, skip_bad=skip_bad, workers=config.data.workers, show_progress=show_progress)
    first = found.episodes[0]
    config.camera.check(first.frames(first.seen_steps[:1])[0], first.name)
    longest = max(len(episode) for episode in found.episodes)
    if config.chunk_size > longest:
        raise ConfigError(
            f"chunk_size: expected at most {longest}, the steps of the longest episode, got {config.chunk_size}"
        )
    train, validation = _split(found.episodes, config)
    statistics = StatisticsAccumulator()
    statistics.add(train.actions)
    return TrainingData(
        train=train,
        validation=validation,
        tokenizer=_tokenizer(config, train.instructions),
        statistics=statistics.result(),
        left_out=found.left_out,
    )


def _tokenizer(config: TrainConfig, instructions: list[str]) -> Tokenizer:
    if config.start_from is not None:
        return load_start_tokenizer(config.start_from)
    return load_or_train_tokenizer(config.policy, instructions)


def _split(episodes: Sequence[Episode], config: TrainConfig) -> tuple[Windows, Windows]:
    """Training and validation frames; the latter of whole episodes, spread evenly."""
    held_out = config.data.validation_episodes
    if not held_out < len(episodes):
        raise ConfigError(f"data.validation_episodes: expected in (0, {len(episodes)}), got {held_out}")
    chosen = set(np.linspace(0, len(episodes) - 1, held_out).round().astype(int).tolist())
    train = [episode for number, episode in enumerate(episodes) if number not in chosen]
    validation = [episode for number, episode in enumerate(episodes) if number in chosen]
    has_questions = config.data.question_share > 0
    return (
        Windows(train, config.chunk_size, has_questions),
        Windows(validation, config.chunk_size, has_questions),
    )
