"""A look at some frames of some episodes: film strips for a human, and black or frozen frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vla_ros.action import ARM_DIM
from vla_ros.data.episode import Episode
from vla_ros.errors import DatasetError

SAMPLED_EPISODES = 48
SAMPLED_FRAMES = 9
STRIPS = 8
STRIP_EVERY = 2
"""Each strip shows every second of the sampled frames: first, middle, last and those between."""

BLACK_BELOW = 10.0
"""Mean brightness, of 255: a covered lens or a camera that is off; nobody could see a task in it."""

FLAT_BELOW = 1.0
"""Standard deviation of the pixels in each channel: a frame without any picture."""

MOVED_M, MOVED_RAD = 0.02, 0.1
"""A camera that sees the arm sees something else after it moved or turned so far."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilmStrip:
    """Some frames of an episode.

    Attributes:
        steps: which ones, the first and the last among them.
        frames: uint8 [len(steps), H, W, 3].
        opening: float32 [T], of the gripper at every step.
    """

    name: str
    instruction: str
    steps: tuple[int, ...]
    frames: NDArray[np.uint8]
    opening: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSample:
    """What was seen.

    Attributes:
        sizes: width and height [px] of the frames, and in how many episodes.
        episodes: how many were looked at.
        frames: how many were looked at.
        black: frames without a picture, `<episode>: step <n>`.
        frozen: `<episode>: steps <m> and <n>`: the same picture although the arm moved.
    """

    sizes: dict[tuple[int, int], int]
    episodes: int
    frames: int
    black: tuple[str, ...]
    frozen: tuple[str, ...]
    strips: tuple[FilmStrip, ...]


def sample_images(
    episodes: Sequence[Episode], *, skip_bad: bool, show_progress: bool
) -> tuple[ImageSample, dict[int, str]]:
    """Look at episodes spread evenly; gives the sample, and by its index a line for each with damaged images.

    Raises:
        DatasetError: a frame is damaged and must not be skipped.
    """
    chosen = np.unique(np.linspace(0, len(episodes) - 1, SAMPLED_EPISODES).round().astype(int))
    with_strip = set(chosen[np.linspace(0, len(chosen) - 1, STRIPS).round().astype(int)].tolist())
    sizes: dict[tuple[int, int], int] = {}
    strips: list[FilmStrip] = []
    black: list[str] = []
    frozen: list[str] = []
    unreadable: dict[int, str] = {}
    frame_count = 0
    for index in tqdm(chosen, "looking at images", unit="episode", disable=not show_progress):
        episode = episodes[index]
        seen = episode.seen_steps
        steps = seen[np.unique(np.linspace(0, len(seen) - 1, SAMPLED_FRAMES).round().astype(np.int64))]
        try:
            frames = episode.frames(steps)
        except DatasetError as error:
            if not skip_bad:
                raise
            unreadable[int(index)] = str(error)
            continue
        frame_count += len(steps)
        size = (frames.shape[2], frames.shape[1])
        sizes[size] = sizes.get(size, 0) + 1
        is_dark = is_black(frames)
        black += [f"{episode.name}: step {step}" for step in steps[is_dark]]
        pairs = np.flatnonzero(is_frozen(frames, steps, episode.actions) & ~is_dark[:-1])
        frozen += [f"{episode.name}: steps {steps[pair]} and {steps[pair + 1]}" for pair in pairs]
        if index in with_strip:
            strips.append(_strip(episode, steps, frames))
    sample = ImageSample(
        sizes=sizes,
        episodes=len(chosen) - len(unreadable),
        frames=frame_count,
        black=tuple(black),
        frozen=tuple(frozen),
        strips=tuple(strips),
    )
    return sample, unreadable


def is_black(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the frames [n, H, W, 3] show nothing: black, or one colour all over."""
    flattened = frames.reshape(len(frames), -1, 3)
    is_dark = flattened.mean(axis=(1, 2)) < BLACK_BELOW
    is_flat = (flattened.std(axis=1) < FLAT_BELOW).all(axis=1)
    return np.asarray(is_dark | is_flat)


def is_frozen(frames: NDArray[np.uint8], steps: NDArray[np.int64], actions: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Between which neighbours of the frames [n, ...] the arm moved but no pixel changed, [n - 1]."""
    moved_m = np.linalg.norm(actions[:, :3], axis=1)
    turned_rad = np.linalg.norm(actions[:, 3:ARM_DIM], axis=1)
    verdicts = []
    for left, right, begin, end in zip(frames, frames[1:], steps, steps[1:], strict=False):
        has_moved = moved_m[begin:end].sum() > MOVED_M or turned_rad[begin:end].sum() > MOVED_RAD
        verdicts.append(bool(has_moved and np.array_equal(left, right)))
    return np.array(verdicts, np.bool_)


def _strip(episode: Episode, steps: NDArray[np.int64], frames: NDArray[np.uint8]) -> FilmStrip:
    shown = np.arange(0, len(steps), STRIP_EVERY) if len(steps) == SAMPLED_FRAMES else np.arange(len(steps))
    return FilmStrip(
        name=episode.name,
        instruction=episode.instruction,
        steps=tuple(steps[shown].tolist()),
        frames=frames[shown],
        opening=episode.actions[:, ARM_DIM],
    )
