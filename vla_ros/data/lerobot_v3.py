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
from vla_ros.data.parquet import count_rows, read_rows, read_table
from vla_ros.errors import DatasetError


def read_tasks(info: LerobotInfo) -> dict[int, Any]:
    """Instructions by `task_index`."""
    path = info.root / "meta" / "tasks.parquet"
    table = read_table(path)
    # pandas calls an index without a name `__index_level_0__`; LeRobot gave it one later
    names = [name for name in table.column_names if name != "task_index"]
    if "task_index" not in table.column_names or len(names) != 1:
        raise DatasetError(f"{path}: expected the columns task_index and one more, got {', '.join(table.column_names)}")
    return dict(zip(table["task_index"].to_pylist(), table[names[0]].to_pylist(), strict=True))


def read_episodes(info: LerobotInfo) -> tuple[EpisodeRecord, ...]:
    """Where each episode lies, in the order of their numbers."""
    folder = info.root / "meta" / "episodes"
    files = sorted(folder.glob("*/*.parquet"))
    if not files:
        raise DatasetError(f"{folder}: expected chunk-000/file-000.parquet, got nothing")
    video = f"videos/{info.video_key}"
    columns = ["episode_index", "length", "dataset_from_index"]
    if info.video_key:
        columns += [f"{video}/chunk_index", f"{video}/file_index", f"{video}/from_timestamp"]
    rows = [row for file in files for row in read_table(file, columns).to_pylist()]
    rows.sort(key=lambda row: row["episode_index"])
    data_files, starts = _data_files(info)
    records = []
    for row in rows:
        place = max(bisect_right(starts, row["dataset_from_index"]) - 1, 0)
        records.append(
            EpisodeRecord(
                index=row["episode_index"],
                length=row["length"],
                data=data_files[place],
                first_row=row["dataset_from_index"] - starts[place],
                video=info.video_file(chunk_index=row[f"{video}/chunk_index"], file_index=row[f"{video}/file_index"])
                if info.video_key
                else None,
                video_from_s=row[f"{video}/from_timestamp"] if info.video_key else 0.0,
            )
        )
    return tuple(records)


def _data_files(info: LerobotInfo) -> tuple[list[Path], list[int]]:
    """All data files, and the number of each one's first row."""
    found: list[tuple[int, Path]] = []
    end = 0
    for file in sorted((info.root / "data").glob("*/*.parquet")):
        try:
            first, count = read_rows(file, 0, 1, ["index"])["index"].to_pylist(), count_rows(file)
        except DatasetError:  # raised once more by each episode in it, where it can be counted
            first, count = [end], 0
        if first:
            found.append((first[0], file))
            end = first[0] + count
    if not found:
        raise DatasetError(f"{info.root / 'data'}: expected chunk-000/file-000.parquet, got nothing")
    found.sort()
    return [file for _, file in found], [start for start, _ in found]
