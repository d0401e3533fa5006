"""Frames that lie as JPEG or PNG images inside of a TFRecord file."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.data.checks import stacked
from vla_ros.errors import DatasetError
from vla_ros.processing.encoded_image import decode

OPEN_FILES = 64
"""Files that a process keeps open for reading frames."""


@functools.lru_cache(maxsize=OPEN_FILES)
def _shared_file(path: Path) -> Any:
    """Also of a forked process: `pread` moves no position."""
    return path.open("rb", buffering=0)


@dataclass(frozen=True, slots=True, eq=False)
class RldsFrames:
    """Reads single images out of a file and decodes them, RGB as they are stored.

    Attributes:
        file: where they are.
        name: of the episode, for errors.
        offsets, sizes: of the images [bytes], [T].
    """

    file: Path
    name: str
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames uint8 [len(steps), H, W, 3]; see `FrameReader`."""
        return stacked([self._frame(int(step)) for step in steps], self.name)

    def _frame(self, step: int) -> NDArray[np.uint8]:
        try:
            encoded = os.pread(_shared_file(self.file).fileno(), int(self.sizes[step]), int(self.offsets[step]))
        except OSError as error:
            raise DatasetError(f"{self.name}: frame {step}: expected a readable file, got {error.strerror}") from error
        pixels = decode(encoded)
        if pixels is None:
            got = f"{len(encoded)} bytes of something else"
            raise DatasetError(f"{self.name}: frame {step}: expected a whole JPEG or PNG file, got {got}")
        return pixels
