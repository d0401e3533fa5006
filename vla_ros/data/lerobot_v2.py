"""LeRobot's version 2: one parquet file and one video per episode, tables as JSON lines.

meta/tasks.jsonl                             {"task_index": 0, "task": "pick up the soup"}
meta/episodes.jsonl                          {"episode_index": 0, "tasks": [...], "length": 8}
data/chunk-000/episode_000000.parquet        a chunk is a folder of `chunks_size` episodes
videos/chunk-000/<key>/episode_000000.mp4
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from vla_ros.data.lerobot_info import EpisodeRecord, LerobotInfo, info_error, read_text
from vla_ros.errors import DatasetError

T = TypeVar("T")


def read_tasks(info: LerobotInfo) -> dict[int, Any]:
    """Instructions by `task_index`."""
    return dict(
        _entries(info.root / "meta" / "tasks.jsonl", lambda entry: (_whole_number(entry, "task_index"), entry["task"]))
    )


def read_episodes(info: LerobotInfo) -> tuple[EpisodeRecord, ...]:
    """Where each episode lies, in the order of their numbers."""
    chunk_size = info.fields.get("chunks_size")
    if not isinstance(chunk_size, int) or chunk_size < 1:
        raise info_error(info.root, "chunks_size", "a number >= 1", repr(chunk_size))

    def record(entry: dict[str, Any]) -> EpisodeRecord:
        index = _whole_number(entry, "episode_index")
        numbers = {"episode_chunk": index // chunk_size, "episode_index": index}
        return EpisodeRecord(
            index=index,
            length=_whole_number(entry, "length"),
            data=info.data_file(**numbers),
            first_row=0,
            video=info.video_file(**numbers) if info.video_key else None,
            video_from_s=0.0,
        )

    records = _entries(info.root / "meta" / "episodes.jsonl", record)
    return tuple(sorted(records, key=lambda record: record.index))


def _whole_number(entry: dict[str, Any], name: str) -> int:
    value = entry[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} {value!r}")
    return value


def _entries(path: Path, convert: Callable[[dict[str, Any]], T]) -> list[T]:
    converted = []
    # not splitlines(), which also splits at characters that JSON allows within a text
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            converted.append(convert(json.loads(line)))
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise DatasetError(f"{path}: line {number}: expected an entry of LeRobot, got {error!r}") from error
    return converted
