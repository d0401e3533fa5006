"""What a data set holds, as a human wants to see it before training on it: figures, film strips, and what is odd."""

import statistics
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ARM_DIM, ActionSpace
from vla_ros.data.episode import Episode, EpisodeDataset
from vla_ros.data.inspection_histogram import Histogram, histogram
from vla_ros.data.inspection_images import ImageSample, sample_images
from vla_ros.data.scan import scan
from vla_ros.data.statistics import StatisticsAccumulator
from vla_ros.errors import DatasetError
from vla_ros.processing.normalization import Statistics

IDLE_M, IDLE_RAD = 1e-4, 1e-3
"""A step that moves the effector less than this, and the gripper not at all, is idle."""

OPEN_ABOVE = 0.5

LENGTH_BINS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSummary:
    """One episode in numbers.

    Attributes:
        name: where it is.
        steps: how many.
        open_steps: those with an open gripper.
        idle_steps: those in which nothing moves.
        gripper_changes: how often the gripper opens or closes.
        begins_open: whether the gripper is open at the first step.
    """

    name: str
    instruction: str
    steps: int
    open_steps: int
    idle_steps: int
    gripper_changes: int
    begins_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that was found out.

    Attributes:
        source: the path as the user gave it.
        format: the key in DataSource.
        total: episodes of the data set, of which `episodes` and `left_out` were read.
        left_out: one line for each bad episode.
        extreme_shares: of the arm's six dimensions, the share of steps exactly at the least or the largest value.
        histograms: of the seven dimensions.
        lengths: histogram of the steps per episode.
    """

    source: str
    format: str
    action: ActionSpace
    total: int
    episodes: tuple[EpisodeSummary, ...]
    left_out: tuple[str, ...]
    statistics: Statistics
    extreme_shares: tuple[float, ...]
    histograms: tuple[Histogram, ...]
    lengths: Histogram
    images: ImageSample

    @property
    def steps(self) -> int:
        """Of all episodes."""
        return sum(episode.steps for episode in self.episodes)

    @property
    def hours(self) -> float:
        """Of demonstration, at the control rate [h]."""
        return self.steps / self.action.control_rate_hz / 3600

    @property
    def duration(self) -> str:
        """The same for humans."""
        return f"{self.hours:.1f} h" if self.hours >= 1 else f"{60 * self.hours:.1f} min"

    @property
    def median_length(self) -> float:
        """Steps of the episode in the middle."""
        return statistics.median(episode.steps for episode in self.episodes)

    @property
    def grasping(self) -> tuple[EpisodeSummary, ...]:
        """The episodes in which the gripper opens or closes."""
        return tuple(episode for episode in self.episodes if episode.gripper_changes)

    @property
    def open_share(self) -> float:
        """Of the steps, those with an open gripper."""
        return sum(episode.open_steps for episode in self.episodes) / self.steps

    @property
    def gripper_changes(self) -> float:
        """How often the gripper opens or closes in an episode, on average."""
        return statistics.fmean(episode.gripper_changes for episode in self.episodes)

    @property
    def idle_share(self) -> float:
        """Of the steps, those in which nothing moves."""
        return sum(episode.idle_steps for episode in self.episodes) / self.steps

    @property
    def instructions(self) -> dict[str, int]:
        """How many episodes have each, the most frequent first."""
        counts: dict[str, int] = {}
        for episode in self.episodes:
            counts[episode.instruction] = counts.get(episode.instruction, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def inspect_dataset(
    dataset: EpisodeDataset,
    format_name: str,
    *,
    episodes: int | None = None,
    skip_bad: bool = False,
    workers: int = 0,
    show_progress: bool = True,
) -> Inspection:
    """Read all actions, and a sample of the images.

    Args:
        episodes: read only so many, spread evenly over the data set.
        skip_bad: leave bad episodes out and list them, instead of stopping at the first one.
        workers: processes that read the actions; 0 reads them in this one.

    Raises:
        DatasetError: an episode is bad and must not be left out, or none is good.
    """
    chosen = dataset if episodes is None or episodes >= len(dataset) else _Spread(dataset, episodes)
    scanned = scan(chosen, skip_bad=skip_bad, workers=workers, show_progress=show_progress)
    # what all names have in common is said once, as `source`
    named = [
        replace(episode, name=episode.name.removeprefix(dataset.source).lstrip("/: ")) for episode in scanned.episodes
    ]
    images, unreadable = sample_images(named, skip_bad=skip_bad, show_progress=show_progress)
    good = [episode for index, episode in enumerate(named) if index not in unreadable]
    left_out = (*scanned.left_out, *unreadable.values())
    if not good:
        raise DatasetError(f"{dataset.source}: expected at least one episode with images, the first has: {left_out[0]}")
    accumulator = StatisticsAccumulator()
    for episode in good:
        accumulator.add(episode.actions)
    summary = accumulator.result()
    actions = np.concatenate([episode.actions for episode in good])
    return Inspection(
        source=dataset.source,
        format=format_name,
        action=dataset.action,
        total=len(dataset),
        episodes=tuple(summarize(episode) for episode in good),
        left_out=left_out,
        statistics=summary,
        extreme_shares=extreme_shares(actions),
        histograms=tuple(
            histogram(column, low, high) for column, low, high in zip(actions.T, summary.q01, summary.q99, strict=True)
        ),
        lengths=_length_histogram(np.array([len(episode) for episode in good])),
        images=images,
    )


def summarize(episode: Episode) -> EpisodeSummary:
    """One episode in numbers; reads no image."""
    is_open = episode.actions[:, ARM_DIM] > OPEN_ABOVE
    changes = np.flatnonzero(np.diff(is_open)) + 1
    is_idle = np.linalg.norm(episode.actions[:, :3], axis=1) < IDLE_M
    is_idle &= np.linalg.norm(episode.actions[:, 3:ARM_DIM], axis=1) < IDLE_RAD
    is_idle[changes] = False
    return EpisodeSummary(
        name=episode.name,
        instruction=episode.instruction,
        steps=len(episode),
        open_steps=int(is_open.sum()),
        idle_steps=int(is_idle.sum()),
        gripper_changes=len(changes),
        begins_open=bool(is_open[0]),
    )


def extreme_shares(actions: NDArray[np.float32]) -> tuple[float, ...]:
    """Share of the steps exactly at the least or the largest value, for each of the arm's dimensions.

    A number that was not clipped reaches its extreme once, or twice; one that was reaches it often, wherever the data
    set's limit is.
    """
    arm = actions[:, :ARM_DIM]
    return tuple(((arm == arm.min(axis=0)) | (arm == arm.max(axis=0))).mean(axis=0).tolist())


def _length_histogram(lengths: NDArray[np.int64]) -> Histogram:
    """No more bars than there are whole numbers."""
    return histogram(lengths.astype(np.float32), bins=int(min(LENGTH_BINS, np.ptp(lengths) + 1)))


class _Spread(EpisodeDataset):
    """Some of the episodes of a data set, spread evenly."""

    def __init__(self, dataset: EpisodeDataset, count: int) -> None:
        self.source, self.action = dataset.source, dataset.action
        self._dataset = dataset
        self._indices = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()

    def __len__(self) -> int:
        return len(self._indices)

    def episode(self, index: int) -> Episode:
        return self._dataset.episode(self._indices[index])
