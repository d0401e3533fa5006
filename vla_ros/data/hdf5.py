"""HDF5 as demonstrations need it: fields that are checked in one line, and single frames read lazily."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vla_ros.data.checks import reason
from vla_ros.errors import DatasetError

OPEN_FILES = 32
"""Files that a process keeps open for reading frames; LIBERO's suites of ten fit."""

Array = NDArray[Any]


def open_file(path: Path, **options: Any) -> h5py.File:
    """Raises DatasetError if it is no HDF5 file, or a truncated one; `options` are h5py's."""
    try:
        return h5py.File(path, "r", **options)
    except Exception as error:  # h5py raises whatever its parsers do
        raise damaged(path, error) from error


@contextmanager
def opened(path: Path) -> Iterator["CheckedGroup"]:
    """The root of a file while it is read; what h5py raises on damaged parts of it becomes a DatasetError."""
    with open_file(path) as root:
        try:
            yield CheckedGroup(path, root)
        except DatasetError:
            raise
        except Exception as error:  # as above
            raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> DatasetError:
    """An error of h5py, for the user."""
    return DatasetError(f"{path}: expected a whole HDF5 file, got: {reason(error)}")


class _OpenFile:
    """A file and its image datasets, kept open: opening a dataset anew takes longer than reading a frame of it."""

    def __init__(self, path: Path) -> None:
        # frames are drawn at random, so that no chunk is read twice within reach of a cache
        self._root = open_file(path, rdcc_nbytes=0)
        self._datasets: dict[str, h5py.Dataset] = {}

    def dataset(self, path: str) -> h5py.Dataset:
        if path not in self._datasets:
            self._datasets[path] = self._root[path]
        return self._datasets[path]


def _shared(path: Path) -> _OpenFile:
    return _opened(path, os.getpid())


@functools.lru_cache(maxsize=OPEN_FILES)
def _opened(path: Path, process_id: int) -> _OpenFile:
    """Of one process: a forked one opens its own."""
    return _OpenFile(path)


@dataclass(frozen=True, slots=True)
class Hdf5Frames:
    """Reads single frames of one episode as they are stored; whichever process uses it opens the file itself.

    Attributes:
        file: the HDF5 file.
        path: of the images in it, uint8 [T, H, W, 3], RGB.
    """

    file: Path
    path: str

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames uint8 [len(steps), H, W, 3]; see `FrameReader`."""
        step = 0
        try:
            images = _shared(self.file).dataset(self.path)
            frames = np.empty((len(steps), *images.shape[1:]), np.uint8)
            for row, step in enumerate(steps.tolist()):
                frames[row] = images[step]
            return frames
        except DatasetError:
            raise
        except Exception as error:  # a damaged chunk, or a file that has changed
            where = f"{self.file}: {self.path.replace('/', '.')}[{step}]"
            raise DatasetError(f"{where}: expected a frame, got: {reason(error)}") from error


class CheckedGroup:
    """An HDF5 group whose accessors say in one line what is wrong with a field."""

    def __init__(self, file: Path, node: h5py.Group) -> None:
        self.file, self.node = file, node

    def where(self, path: str) -> str:
        """`<file>: <dotted.path>` of something in this group."""
        return f"{self.file}: " + f"{self.node.name}/{path}".strip("/").replace("/", ".")

    def error(self, path: str, expected: str, got: str) -> DatasetError:
        return DatasetError(f"{self.where(path)}: expected {expected}, got {got}")

    def group(self, path: str) -> "CheckedGroup":
        node = self.node.get(path)
        if not isinstance(node, h5py.Group):
            raise self.error(path, "a group", "nothing" if node is None else "a dataset")
        return CheckedGroup(self.file, node)

    def dataset(self, path: str, shape: tuple[int | None, ...]) -> h5py.Dataset:
        """A dataset of numbers, not read yet; None in `shape` is a free axis."""
        node = self.node.get(path)
        wanted = f"numbers [{', '.join('n' if n is None else str(n) for n in shape)}]"
        if not isinstance(node, h5py.Dataset):
            raise self.error(path, wanted, "nothing" if node is None else "a group")
        fits = node.ndim == len(shape) and all(w in (None, n) for n, w in zip(node.shape, shape, strict=True))
        if not fits or node.dtype.kind not in "fiu" or node.shape[0] == 0:
            raise self.error(path, wanted, f"{node.dtype} {list(node.shape)}")
        return node

    def numbers(self, path: str, shape: tuple[int | None, ...]) -> Array:
        """A dataset of numbers as it is stored; they need not be finite."""
        dataset = self.dataset(path, shape)
        try:
            return np.asarray(dataset)
        except Exception as error:  # as above
            raise self.error(path, "numbers", f"damaged data: {reason(error)}") from error

    def finite(self, path: str, shape: tuple[int | None, ...]) -> Array:
        """A dataset of finite numbers."""
        values = self.numbers(path, shape)
        is_bad = ~np.isfinite(values)
        if is_bad.any():
            step = int(np.argwhere(is_bad)[0, 0])
            raise self.error(f"{path}[{step}]", "finite numbers", "NaN or infinity")
        return values

    def frames(self, path: str, steps: int) -> Hdf5Frames:
        """Images uint8 [steps, H, W, 3], read when they are needed."""
        images = self.dataset(path, (steps, None, None, 3))
        if images.dtype != np.uint8:
            raise self.error(path, "uint8", str(images.dtype))
        return Hdf5Frames(self.file, f"{self.node.name}/{path}".strip("/"))
