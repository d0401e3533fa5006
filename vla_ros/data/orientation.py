"""How a data set stores its images, turned back to what a camera sees."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vla_ros.data.episode import FrameReader

Orientation = Literal["upright", "upside_down", "mirrored", "rotated_180"]
"""`upside_down`: rows from the bottom, as OpenGL reads them; `mirrored`: columns from the right; the last is both."""


def upright(frames: FrameReader, orientation: Orientation) -> FrameReader:
    """A reader of the same frames, upright and not mirrored."""
    return frames if orientation == "upright" else _UprightFrames(frames, orientation)


@dataclass(frozen=True, slots=True)
class _UprightFrames:
    frames: FrameReader
    orientation: Orientation

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = self.frames(steps)
        if self.orientation in ("upside_down", "rotated_180"):
            images = images[:, ::-1]
        if self.orientation in ("mirrored", "rotated_180"):
            images = images[:, :, ::-1]
        return np.ascontiguousarray(images)
