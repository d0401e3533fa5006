from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from vla_ros.data.parquet import ParquetFrames, count_rows, read_rows, read_table
from vla_ros.errors import DatasetError

ROWS, GROUP = 23, 5


def picture(row: int) -> NDArray[np.uint8]:
    return np.random.default_rng(row).integers(0, 256, (4, 6, 3), np.uint8)


def encoded(row: int) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(picture(row), cv2.COLOR_RGB2BGR))[1])


def write(path: Path, pictures: list[bytes | None]) -> Path:
    images = pa.array([{"bytes": data, "path": ""} for data in pictures])
    table = pa.table({"index": pa.array(range(len(pictures))), "camera": images, "unread": [0.5] * len(pictures)})
    pq.write_table(table, path, row_group_size=GROUP)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "file.parquet", [encoded(row) for row in range(ROWS)])


@pytest.mark.parametrize("first", range(ROWS))
def test_rows_are_found_in_whichever_row_groups_they_lie(file: Path, first: int) -> None:
    for count in (1, 4, 7):
        table = read_rows(file, first, count, ["index"])
        assert table["index"].to_pylist() == list(range(first, min(first + count, ROWS)))
        assert table.column_names == ["index"]
    assert count_rows(file) == ROWS


def test_single_pictures_are_read_in_any_order(file: Path) -> None:
    frames = ParquetFrames(file, "camera", first_row=3, length=18)
    steps = np.array([17, 0, 4, 4])
    np.testing.assert_array_equal(frames(steps), [picture(3 + step) for step in steps])


def test_a_step_beyond_the_episode_is_not_the_next_episodes(file: Path) -> None:
    with pytest.raises(IndexError, match="step 4 of an episode of 4"):
        ParquetFrames(file, "camera", first_row=3, length=4)(np.array([4]))


@pytest.mark.parametrize("bad", [None, b"", encoded(0)[:-3], b"GIF89a"])
def test_a_damaged_picture_is_named(tmp_path: Path, bad: bytes | None) -> None:
    path = write(tmp_path / "bad.parquet", [encoded(0), bad])
    with pytest.raises(DatasetError, match=r"bad.parquet: camera\[1\]: expected a whole PNG or JPEG file, got"):
        ParquetFrames(path, "camera", first_row=0, length=2)(np.array([0, 1]))


def test_a_column_of_something_else_holds_no_pictures(file: Path) -> None:
    with pytest.raises(DatasetError, match="unread: expected a struct with `bytes`, got double"):
        ParquetFrames(file, "unread", first_row=0, length=4)(np.array([1]))


def test_a_table_without_a_column_or_a_value_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nothing: expected a column of this file \(index, camera, unread\)"):
        read_table(file, ["nothing"])
    pq.write_table(pa.table({"length": [3, None]}), tmp_path / "null.parquet")
    with pytest.raises(DatasetError, match="length: expected a value in every row, got 1 without"):
        read_table(tmp_path / "null.parquet")
