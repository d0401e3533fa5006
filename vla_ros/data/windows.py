"""Episodes to training samples: one frame and the chunk of actions that follows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
        valid: bool [batch, chunk_size]; false behind the episode's end, where `actions` repeats the last row, and where
            another object is asked for than the one that was moved.
        instructions: index into `Windows.instructions`, int64 [batch].
        scene: float32 [batch, 9 + 3 n], positions of target, goal and end effector in the base frame [m]; then, where
            there are questions, of what each of the n instructions asks for, NaN where it is not in the scene.
    """

    images: NDArray[np.uint8]
    actions: NDArray[np.float32]
    valid: NDArray[np.bool_]
    instructions: NDArray[np.int64]
    scene: NDArray[np.float32]


class Windows:
    """All frames of some episodes with their action chunks; images are read when they are asked for.

    A frame is a step that the camera saw; its chunk has the actions of every step. Behind the frames there can be
    questions: the same images, asked for another object of the scene, of which only the position is known and not what
    the demonstrator would have done.

    Attributes:
        episodes: in the order of their frames.
        instructions: all different ones, sorted.
        actions: float32 [steps, 7], SI units.
        scene: float32 [frames + questions, 9 + 3 n], see `Samples`; NaN where an episode does not have it.
        questions: how many there are; their numbers begin with `len(self)`.
    """

    def __init__(self, episodes: Sequence[Episode], chunk_size: int, has_questions: bool = False) -> None:
        """Raises DatasetError if there is no episode."""
        if not episodes:
            raise DatasetError("data.source: expected at least one episode, got none")
        self.episodes = tuple(episodes)
        lengths = np.array([len(episode) for episode in episodes])
        ends = np.cumsum(lengths)
        self.actions = np.concatenate([episode.actions for episode in episodes]).astype(np.float32)
        self._first, self._last = ends - lengths, ends - 1
        tracks = [_Track(number, episode.instruction) for number, episode in enumerate(episodes)]
        if has_questions:
            tracks += [_Track(n, asked) for n, episode in enumerate(episodes) for asked in episode.other_positions]
        self.instructions = sorted({track.instruction for track in tracks})
        numbers = {instruction: number for number, instruction in enumerate(self.instructions)}
        seen = [episodes[track.episode].seen_steps for track in tracks]
        sizes = [len(steps) for steps in seen]
        self._row = np.concatenate(
            [self._first[track.episode] + steps for track, steps in zip(tracks, seen, strict=True)]
        )
        self._episode = np.repeat([track.episode for track in tracks], sizes)
        self._instruction = np.repeat([numbers[track.instruction] for track in tracks], sizes)
        named = self.instructions if has_questions else []
        self.scene = np.concatenate([_scene(episodes[track.episode], track.instruction, named) for track in tracks])
        self._frames = sum(sizes[: len(episodes)])
        self.questions = len(self._row) - self._frames
        self._phase_names, phases = _phases(episodes)
        self._phases = phases[self._row[: self._frames]]
        self._offsets = np.arange(chunk_size)

    def __len__(self) -> int:
        return self._frames

    def sampling_weights(self, phase_weights: Mapping[str, float], question_share: float = 0) -> NDArray[np.float64]:
        """How often each frame and each question is drawn, float64 [frames + questions], summing to 1.

        Args:
            phase_weights: of frames; phases that are not named weigh 1.
            question_share: of what is drawn.

        Raises:
            DatasetError: no frame has such a phase (a misspelt name would otherwise change nothing), or there is no
                question to be drawn.
        """
        if question_share and not self.questions:
            raise DatasetError(
                "data.question_share: expected 0 for demonstrations that do not say where other objects are, "
                f"got {question_share}"
            )
        for phase in phase_weights:
            if phase not in self._phase_names:
                known = ", ".join(self._phase_names)
                raise DatasetError(f"data.phase_weights: expected one of {known}, got {phase!r}")
        weights = np.array([phase_weights.get(phase, 1.0) for phase in self._phase_names])
        per_frame = weights[self._phases]
        of_frames = (1 - question_share) * per_frame / per_frame.sum()
        return np.concatenate([of_frames, np.full(self.questions, question_share / max(1, self.questions))])

    def valid(self, frames: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`Samples.valid` of the samples that start at these frames, without reading them."""
        is_inside = self._row[frames][:, None] + self._offsets <= self._last[self._episode[frames]][:, None]
        return is_inside & (frames < len(self))[:, None]

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
            instructions=self._instruction[frames],
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


class _Track(NamedTuple):
    """The frames of one episode, asked for one object."""

    episode: int
    instruction: str


def _scene(episode: Episode, instruction: str, named: Sequence[str]) -> NDArray[np.float32]:
    """Of the steps that were seen; see `Samples.scene`."""
    targets = {**episode.other_positions, episode.instruction: episode.target_position}
    parts = [targets[instruction], episode.goal_position, episode.effector_position]
    unknown = np.full((len(episode), 3), np.nan, np.float32)
    if any(part is None for part in parts):
        parts = [unknown] * 3
    parts += [targets.get(name) for name in named]
    rows = np.concatenate([unknown if part is None else part for part in parts], axis=1)
    return rows.astype(np.float32)[episode.seen_steps]


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
