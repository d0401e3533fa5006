"""Parquet files as demonstrations need them: a few rows of a few columns, and single images."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vla_ros.data.checks import reason, stacked
from vla_ros.errors import DatasetError
from vla_ros.processing.encoded_image import decode

OPEN_FILES = 8
"""Parquet files that a process keeps open."""

CACHED_ROW_GROUPS = 2
"""Row groups of images that a process keeps; parquet cannot read a single row."""


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A whole file, or these columns of it.

    Raises:
        DatasetError: it is missing or damaged, lacks a column or has a row without a value in it.
    """
    file = _open(path)
    table = _read(path, file.row_groups(), columns, file)
    for name in table.column_names:
        if table[name].null_count:
            raise DatasetError(f"{path}: {name}: expected a value in every row, got {table[name].null_count} without")
    return table


def read_rows(path: Path, first: int, count: int, columns: list[str]) -> pa.Table:
    """Rows `first` to `first + count`, or as many of them as there are.

    Raises:
        DatasetError: the file is missing or damaged, or lacks a column.
    """
    file = _open(path)
    begin, end = (min(max(row, 0), count_rows(path)) for row in (first, first + count))
    groups = file.row_groups(begin, end)
    table = _read(path, groups, columns, file)
    return table.slice(begin - file.start(groups), max(end - begin, 0))


def count_rows(path: Path) -> int:
    """How many there are.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    return int(_open(path).starts[-1])


def numbers(column: pa.ChunkedArray, where: str) -> NDArray[Any]:
    """A column of numbers [T], or of lists of n numbers as [T, n]; a missing number is NaN.

    Raises:
        DatasetError: there are no numbers, or lists of several lengths.
    """
    width: int | None = None
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type):
        widths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(widths) != 1 or widths[0] is None:
            raise DatasetError(f"{where}: expected lists of one length, got lengths {widths}")
        width, column = widths[0], pc.list_flatten(column)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise DatasetError(f"{where}: expected numbers, got {column.type}")
    values = column.to_numpy()
    return values if width is None else values.reshape(-1, width)


def whole_numbers(column: pa.ChunkedArray, where: str) -> NDArray[np.int64]:
    """A column of counts or indices.

    Raises:
        DatasetError: there are others, or none in a row.
    """
    if not pa.types.is_integer(column.type) or column.null_count:
        raise DatasetError(
            f"{where}: expected whole numbers, got {column.type}{' with gaps' * bool(column.null_count)}"
        )
    values = column.to_numpy().astype(np.int64)
    if (values < 0).any():
        raise DatasetError(f"{where}: expected whole numbers >= 0, got {values.min()}")
    return values


@dataclass(frozen=True, slots=True)
class ParquetFrames:
    """Reads single images, PNG or JPEG, out of a column; whichever process uses it opens the file itself.

    Attributes:
        file: the parquet file.
        column: a struct with `bytes`.
        first_row: row of the episode's first step.
        length: steps of the episode.
    """

    file: Path
    column: str
    first_row: int
    length: int

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames uint8 [len(steps), H, W, 3], RGB; see `FrameReader`."""
        return stacked([self._frame(int(step)) for step in steps], f"{self.file}: {self.column}")

    def _frame(self, step: int) -> NDArray[np.uint8]:
        if not 0 <= step < self.length:
            raise IndexError(f"{self.file}: {self.column}: step {step} of an episode of {self.length}")
        file, row = _open(self.file), self.first_row + step
        group = int(np.searchsorted(file.starts, row, side="right")) - 1
        images = _image_group(self.file, group, self.column, os.getpid())
        encoded = images[row - int(file.starts[group])].as_py()
        pixels = None if encoded is None else decode(encoded)
        if pixels is None:
            got = "nothing" if encoded is None else f"{len(encoded)} bytes of something else"
            raise DatasetError(f"{self.file}: {self.column}[{row}]: expected a whole PNG or JPEG file, got {got}")
        return pixels


class _OpenFile:
    """An open file, and where its row groups begin."""

    def __init__(self, path: Path) -> None:
        try:
            self.file = pq.ParquetFile(path, memory_map=True)
        except Exception as error:  # Arrow raises whatever its parsers do
            raise DatasetError(f"{path}: expected a whole parquet file, got: {reason(error)}") from error
        self.columns = self.file.schema_arrow.names
        metadata = self.file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self.starts: NDArray[np.int64] = np.cumsum([0, *sizes])

    def row_groups(self, begin: int = 0, end: int | None = None) -> list[int]:
        """Those which hold rows from `begin` to before `end`."""
        stop = self.starts[-1] if end is None else end
        return [int(g) for g in np.flatnonzero((self.starts[1:] > begin) & (self.starts[:-1] < stop))]

    def start(self, groups: list[int]) -> int:
        """The first row of the first of these row groups."""
        return int(self.starts[groups[0]]) if groups else 0


def _open(path: Path) -> _OpenFile:
    return _opened(path, os.getpid())


@functools.lru_cache(maxsize=OPEN_FILES)
def _opened(path: Path, process_id: int) -> _OpenFile:
    """Of one process: a forked one opens its own."""
    return _OpenFile(path)


@functools.lru_cache(maxsize=CACHED_ROW_GROUPS)
def _image_group(path: Path, group: int, column: str, process_id: int) -> Any:
    """The encoded images of one row group."""
    images = _read(path, [group], [column], _open(path))[column].combine_chunks()
    place = images.type.get_field_index("bytes") if pa.types.is_struct(images.type) else -1
    if place < 0 or not pa.types.is_binary(images.type.field(place).type):
        raise DatasetError(f"{path}: {column}: expected a struct with `bytes`, got {images.type}")
    return images.field(place)


def _read(path: Path, groups: list[int], columns: list[str] | None, file: _OpenFile) -> pa.Table:
    missing = [name for name in columns or () if name not in file.columns]
    if missing:
        have = ", ".join(file.columns)
        raise DatasetError(f"{path}: {missing[0]}: expected a column of this file ({have}), got nothing")
    try:
        # worker processes read side by side, so that threads here would only wait for each other
        return file.file.read_row_groups(groups, columns=columns, use_threads=False)
    except Exception as error:  # as above
        raise DatasetError(f"{path}: expected a whole parquet file, got: {reason(error)}") from error
