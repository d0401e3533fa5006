"""One demonstration, and a data set of them: what every format is read into, lazily, without conversion on disk."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ActionSpace


class FrameReader(Protocol):
    """Reads camera frames of one episode when they are needed; can be pickled, so that worker processes can use it."""

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames uint8 [len(steps), height, width, 3], RGB, upright, at these steps of the episode.

        Raises:
            DatasetError: a frame is missing or damaged; names the file and the step.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One demonstration of T steps; its images stay on disk until they are asked for.

    Attributes:
        name: where it is, e.g. `soup_demo.hdf5: data.demo_3`; begins every error about it.
        instruction: what the robot was told.
        actions: float32 [T, 7], m, rad and gripper opening (1 open, 0 closed), as the data set's ActionSpace says.
        frames: reads the camera's frames.
        phases: a name of what the demonstrator does at each step, T names; None where the file has none.
        target_position: float32 [T, 3], the object to be moved, base frame [m]; None where the file has none.
        goal_position: float32 [T, 3], where it goes, base frame [m]; None where the file has none.
        effector_position: float32 [T, 3], base frame [m]; None where the file has none.
        other_positions: float32 [T, 3] each, by instruction: the objects that could have been asked for but were not,
            base frame [m].
        image_steps: int64, rising: the steps that the camera saw; None where it saw all T.
    """

    name: str
    instruction: str
    actions: NDArray[np.float32]
    frames: FrameReader
    phases: tuple[str, ...] | None = None
    target_position: NDArray[np.float32] | None = None
    goal_position: NDArray[np.float32] | None = None
    effector_position: NDArray[np.float32] | None = None
    other_positions: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    image_steps: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def seen_steps(self) -> NDArray[np.int64]:
        """The steps that `frames` can be asked for."""
        return np.arange(len(self)) if self.image_steps is None else self.image_steps


class EpisodeDataset(ABC):
    """Demonstrations in one format, by number; reading one reads its actions and its instruction, no image.

    Attributes:
        source: the path as the user gave it, for errors.
        action: what the actions mean: frame, rotation and rate.
    """

    source: str
    action: ActionSpace

    @abstractmethod
    def __len__(self) -> int:
        """How many episodes there are."""

    @abstractmethod
    def episode(self, index: int) -> Episode:
        """Episode `index`, checked.

        Raises:
            DatasetError: it is truncated, misshapen or not finite; names file and step.
        """
