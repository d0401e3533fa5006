"""Episodes to training samples: one frame and the chunk of actions that follows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.data.episode import Episode
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
    """All frames of some episodes with their action chunks; images are read when they are asked for.

    A frame is a step that the camera saw; its chunk has the actions of every step.

    Attributes:
        episodes: in the order of their frames.
        instructions: all different ones, sorted.
        actions: float32 [steps, 7], SI units.
        scene: float32 [frames, 9], see `Samples`; NaN where an episode does not have it.
    """

    def __init__(self, episodes: Sequence[Episode], chunk_size: int) -> None:
        """Raises DatasetError if there is no episode."""
        if not episodes:
            raise DatasetError("data.source: expected at least one episode, got none")
        self.episodes = tuple(episodes)
        lengths = np.array([len(episode) for episode in episodes])
        ends = np.cumsum(lengths)
        self.instructions = sorted({episode.instruction for episode in episodes})
        numbers = {instruction: number for number, instruction in enumerate(self.instructions)}
        self.actions = np.concatenate([episode.actions for episode in episodes]).astype(np.float32)
        self._first, self._last = ends - lengths, ends - 1
        seen = [episode.seen_steps for episode in episodes]
        self._row = np.concatenate([first + steps for first, steps in zip(self._first, seen, strict=True)])
        self._episode = np.repeat(np.arange(len(episodes)), [len(steps) for steps in seen])
        self.scene = np.concatenate([_scene(episode) for episode in episodes])[self._row]
        self._instruction = np.array([numbers[episode.instruction] for episode in episodes])
        self._phase_names, phases = _phases(episodes)
        self._phases = phases[self._row]
        self._offsets = np.arange(chunk_size)

    def __len__(self) -> int:
        return len(self._row)

    def sampling_weights(self, phase_weights: Mapping[str, float]) -> NDArray[np.float64]:
        """How often each frame is drawn, float64 [frames], summing to 1; phases that are not named weigh 1.

        Raises:
            DatasetError: no frame has such a phase (a misspelt name would otherwise change nothing).
        """
        for phase in phase_weights:
            if phase not in self._phase_names:
                known = ", ".join(self._phase_names)
                raise DatasetError(f"data.phase_weights: expected one of {known}, got {phase!r}")
        weights = np.array([phase_weights.get(phase, 1.0) for phase in self._phase_names])
        per_frame = weights[self._phases]
        return np.asarray(per_frame / per_frame.sum())

    def valid(self, frames: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`Samples.valid` of the samples that start at these frames, without reading them."""
        return self._row[frames][:, None] + self._offsets <= self._last[self._episode[frames]][:, None]

    def chunks(self, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        """`Samples.actions` of the samples that start at these frames, without reading them."""
        rows = np.minimum(self._row[frames][:, None] + self._offsets, self._last[self._episode[frames]][:, None])
        return self.actions[rows]

    def take(self, frames: NDArray[np.int64]) -> Samples:
        """The samples that start at these frames, int64 [batch].

        Raises:
            DatasetError: an image cannot be read, or has another size than the others; names file and step.
        """
        episodes = self._episode[frames]
        return Samples(
            images=self._images(frames, episodes),
            actions=self.chunks(frames),
            valid=self.valid(frames),
            instructions=self._instruction[episodes],
            scene=self.scene[frames],
        )

    def _images(self, frames: NDArray[np.int64], episodes: NDArray[np.int64]) -> NDArray[np.uint8]:
        images: NDArray[np.uint8] | None = None
        for number in np.unique(episodes):
            (where,) = np.nonzero(episodes == number)
            episode, steps = self.episodes[number], self._row[frames[where]] - self._first[number]
            found = episode.frames(steps)
            if images is None:
                images = np.empty((len(frames), *found.shape[1:]), np.uint8)
            if found.shape[1:] != images.shape[1:]:
                raise DatasetError(
                    f"{episode.name}: step {steps[0]}: expected an image {list(images.shape[1:])} as in the others, "
                    f"got {list(found.shape[1:])}"
                )
            images[where] = found
        assert images is not None  # a batch has samples
        return images


def _scene(episode: Episode) -> NDArray[np.float32]:
    parts: list[Any] = [episode.target_position, episode.goal_position, episode.effector_position]
    if any(part is None for part in parts):
        return np.full((len(episode), 9), np.nan, np.float32)
    return np.concatenate(parts, axis=1).astype(np.float32)


def _phases(episodes: Sequence[Episode]) -> tuple[list[str], NDArray[np.int64]]:
    """All names, sorted, and each frame's index into them."""
    per_frame = np.concatenate(
        [
            np.full(len(episode), "unknown") if episode.phases is None else np.asarray(episode.phases, dtype=np.str_)
            for episode in episodes
        ]
    )
    names, indices = np.unique(per_frame, return_inverse=True)
    return [str(name) for name in names], indices.astype(np.int64)
