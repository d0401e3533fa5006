"""LeRobot's version 3: many episodes per parquet file and per video, tables in parquet.

meta/tasks.parquet                           a pandas table: `task_index`, with the instruction as its index
meta/episodes/chunk-000/file-000.parquet     `length`, which file, which rows of it, from when in which video
data/chunk-000/file-000.parquet
videos/<key>/chunk-000/file-000.mp4
"""

from bisect import bisect_right
from pathlib import Path
from typing import Any

from vla_ros.data.lerobot_info import EpisodeRecord, LerobotInfo
from vla_ros.data.parquet import count_rows, numbers, read_rows, read_table, whole_numbers
from vla_ros.errors import DatasetError


def read_tasks(info: LerobotInfo) -> dict[int, Any]:
    """Instructions by `task_index`."""
    path = info.root / "meta" / "tasks.parquet"
    table = read_table(path)
    # pandas calls an index without a name `__index_level_0__`; LeRobot gave it one later
    names = [name for name in table.column_names if name != "task_index"]
    if "task_index" not in table.column_names or len(names) != 1:
        raise DatasetError(f"{path}: expected the columns task_index and one more, got {', '.join(table.column_names)}")
    indices = whole_numbers(table["task_index"], f"{path}: task_index").tolist()
    return dict(zip(indices, table[names[0]].to_pylist(), strict=True))


def read_episodes(info: LerobotInfo) -> tuple[EpisodeRecord, ...]:
    """Where each episode lies, in the order of their numbers."""
    folder = info.root / "meta" / "episodes"
    files = sorted(folder.glob("*/*.parquet"))
    if not files:
        raise DatasetError(f"{folder}: expected chunk-000/file-000.parquet, got nothing")
    data_files, starts = _data_files(info)
    records = []
    for file in files:
        columns = _columns(file, info.video_key)
        for index, length, begin, chunk_index, file_index, from_s in zip(*columns, strict=True):
            place = max(bisect_right(starts, begin) - 1, 0)
            records.append(
                EpisodeRecord(
                    index=index,
                    length=length,
                    data=data_files[place],
                    first_row=begin - starts[place],
                    video=info.video_file(chunk_index=chunk_index, file_index=file_index) if info.video_key else None,
                    video_from_s=from_s,
                )
            )
    return tuple(sorted(records, key=lambda record: record.index))


def _columns(file: Path, video_key: str | None) -> list[list[Any]]:
    """Per episode: its number, its steps, its first row, and its video's chunk, file and time, 0 where it has none."""
    counts = ["episode_index", "length", "dataset_from_index"]
    place = [f"videos/{video_key}/{name}" for name in ("chunk_index", "file_index")] if video_key else []
    time = [f"videos/{video_key}/from_timestamp"] if video_key else []
    table = read_table(file, [*counts, *place, *time])
    columns = [whole_numbers(table[name], f"{file}: {name}").tolist() for name in [*counts, *place]]
    columns += [numbers(table[name], f"{file}: {name}").ravel().tolist() for name in time]
    return [*columns, *[[0] * len(table)] * (6 - len(columns))]


def _data_files(info: LerobotInfo) -> tuple[list[Path], list[int]]:
    """All data files, and the number of each one's first row."""
    found: list[tuple[int, Path]] = []
    end = 0
    for file in sorted((info.root / "data").glob("*/*.parquet")):
        try:
            first = whole_numbers(read_rows(file, 0, 1, ["index"])["index"], f"{file}: index").tolist()
            count = count_rows(file)
        except DatasetError:  # raised once more by each episode in it, where it can be counted
            first, count = [end], 0
        if first:
            found.append((first[0], file))
            end = first[0] + count
    if not found:
        raise DatasetError(f"{info.root / 'data'}: expected chunk-000/file-000.parquet, got nothing")
    found.sort()
    return [file for _, file in found], [start for start, _ in found]
