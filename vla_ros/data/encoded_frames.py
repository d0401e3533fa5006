"""Frames that lie as JPEG or PNG images inside of a larger file."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.data.checks import stacked
from vla_ros.errors import DatasetError

OPEN_FILES = 64
"""Files that a process keeps open for reading frames."""


@functools.lru_cache(maxsize=OPEN_FILES)
def _shared_file(path: Path) -> Any:
    return path.open("rb", buffering=0)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFrames:
    """Reads single JPEG or PNG images out of a file and decodes them; whichever process uses it opens the file itself.

    Attributes:
        file: where they are.
        name: of the episode, for errors.
        offsets, sizes: of the images [bytes], [T].
        is_mirrored: whether left and right are to be swapped.
    """

    file: Path
    name: str
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    is_mirrored: bool

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames uint8 [len(steps), H, W, 3]; see `FrameReader`."""
        return stacked([self._frame(int(step)) for step in steps], self.name)

    def _frame(self, step: int) -> NDArray[np.uint8]:
        try:
            handle = _shared_file(self.file)
            encoded = os.pread(handle.fileno(), int(self.sizes[step]), int(self.offsets[step]))
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        except (OSError, cv2.error) as error:
            raise DatasetError(f"{self.name}: frame {step}: expected an image, got: {error}") from error
        if image is None:
            raise DatasetError(f"{self.name}: frame {step}: expected a JPEG or PNG image, got something else")
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return np.asarray(image[:, ::-1] if self.is_mirrored else image, np.uint8)
