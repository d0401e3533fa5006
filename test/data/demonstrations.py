"""A small data set in memory, as a reader gives it, and what an inspection makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ActionSpace
from vla_ros.data.episode import Episode, EpisodeDataset
from vla_ros.data.inspection import Inspection, inspect_dataset
from vla_ros.errors import DatasetError

STEPS, HEIGHT, WIDTH = 40, 24, 32


@dataclass(frozen=True)
class Pictures:
    """Noise, another one at every step; or one picture, or a damaged one."""

    picture: NDArray[np.uint8] | None = None
    damaged_step: int | None = None

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self.damaged_step in steps.tolist():
            raise DatasetError(f"file: step {self.damaged_step}: expected a frame, got none")
        if self.picture is not None:
            return np.stack([self.picture] * len(steps))
        return np.stack(
            [np.random.default_rng(step).integers(50, 200, (HEIGHT, WIDTH, 3), np.uint8) for step in steps.tolist()]
        )


def actions(steps: int = STEPS, seed: int = 0) -> NDArray[np.float32]:
    """A movement that grasps in the middle and lets go at the end."""
    result = np.random.default_rng(seed).normal(0, 0.01, (steps, 7)).astype(np.float32)
    result[:, 6] = 1.0
    result[steps // 3 : -3, 6] = 0.0
    return result


def episode(index: int = 0, **changes: Any) -> Episode:
    values = {
        "name": f"data/x: demo_{index}",
        "instruction": "pick up the soup",
        "actions": actions(seed=index),
        "frames": Pictures(),
    }
    return Episode(**{**values, **changes})


class Demonstrations(EpisodeDataset):
    """These episodes; an error among them is raised when it is its turn."""

    def __init__(self, episodes: Sequence[Episode | DatasetError]) -> None:
        self.source = "data/x"
        self.action = ActionSpace(frame_id="base", rotation="axis_angle", control_rate_hz=20.0)
        self.episodes = episodes

    def __len__(self) -> int:
        return len(self.episodes)

    def episode(self, index: int) -> Episode:
        found = self.episodes[index]
        if isinstance(found, DatasetError):
            raise found
        return found


def inspection(*episodes: Episode | DatasetError, **options: Any) -> Inspection:
    """Of these episodes; of four good ones if none is given."""
    dataset = Demonstrations(episodes or [episode(index) for index in range(4)])
    return inspect_dataset(dataset, "libero", show_progress=False, **options)
