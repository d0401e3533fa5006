"""Episodes to training samples: one frame and the chunk of actions that follows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.data.libero import Episode
from vla_ros.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Samples:
    """A batch.

    Attributes:
        images: uint8 [batch, height, width, 3], RGB, upright.
        actions: float32 [batch, chunk_size, 7], SI units.
        valid: bool [batch, chunk_size]; false behind the episode's end, where `actions` repeats the last row.
        instructions: index into `Windows.instructions`, int64 [batch].
        scene: float32 [batch, 9], positions of target, goal and end effector in the base frame [m].
    """

    images: NDArray[np.uint8]
    actions: NDArray[np.float32]
    valid: NDArray[np.bool_]
    instructions: NDArray[np.int64]
    scene: NDArray[np.float32]


class Windows:
    """All frames of some episodes, in memory, with their action chunks."""

    def __init__(self, episodes: Sequence[Episode], chunk_size: int) -> None:
        """Raises DatasetError if there is no episode."""
        if not episodes:
            raise DatasetError("data.path: expected at least one episode, got none")
        lengths = np.array([len(episode.actions) for episode in episodes])
        self.instructions = sorted({episode.instruction for episode in episodes})
        self.images = np.concatenate([episode.images for episode in episodes])
        self.actions = np.concatenate([episode.actions for episode in episodes]).astype(np.float32)
        self._last = np.repeat(np.cumsum(lengths) - 1, lengths)
        indices = [self.instructions.index(episode.instruction) for episode in episodes]
        self._instruction = np.repeat(np.array(indices), lengths)
        self.scene = np.concatenate([_scene(episode) for episode in episodes])
        self._phases = np.concatenate([_phases(episode) for episode in episodes])
        self._offsets = np.arange(chunk_size)

    def __len__(self) -> int:
        return len(self.images)

    def sampling_weights(self, phase_weights: Mapping[str, float]) -> NDArray[np.float64]:
        """How often each frame is drawn, float64 [frames], summing to 1; phases that are not named weigh 1.

        Raises:
            DatasetError: no frame has such a phase (a misspelt name would otherwise change nothing).
        """
        known = sorted(set(self._phases))
        for phase in phase_weights:
            if phase not in known:
                raise DatasetError(f"data.phase_weights: expected one of {', '.join(known)}, got {phase!r}")
        weights = np.array([phase_weights.get(phase, 1.0) for phase in known])
        per_frame = weights[np.searchsorted(known, self._phases)]
        return np.asarray(per_frame / per_frame.sum())

    def take(self, frames: NDArray[np.int64]) -> Samples:
        """The samples that start at these frames, int64 [batch]."""
        rows = frames[:, None] + self._offsets
        last = self._last[frames][:, None]
        return Samples(
            images=self.images[frames],
            actions=self.actions[np.minimum(rows, last)],
            valid=rows <= last,
            instructions=self._instruction[frames],
            scene=self.scene[frames],
        )


def _scene(episode: Episode) -> NDArray[np.float32]:
    parts: list[Any] = [episode.target_position, episode.goal_position, episode.effector_position]
    if any(part is None for part in parts):
        return np.full((len(episode.actions), 9), np.nan, np.float32)
    return np.concatenate(parts, axis=1).astype(np.float32)


def _phases(episode: Episode) -> NDArray[np.str_]:
    if episode.phases is None:
        return np.full(len(episode.actions), "unknown")
    return np.asarray(episode.phases, dtype=np.str_)
