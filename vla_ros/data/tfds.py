"""A data set of TensorFlow Datasets on disk, without TensorFlow: its schema, its shards and their records.

<path>/dataset_info.json      name, file format, and per split the number of records in each shard
<path>/features.json          what a record holds
<path>/<name>-<split>.tfrecord-00000-of-00008 ...
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros.data.tfrecord_file import Span, find_records
from vla_ros.errors import DatasetError

INFO = "dataset_info.json"
FEATURES = "features.json"

MAX_SHARD_RECORDS = 10**6
"""Episodes have megabytes, and shards below a gigabyte: more is a damaged number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a split.

    Attributes:
        file: its shard.
        number: in the shard.
        span: where its data are; None if the shard has been cut off before it.
    """

    file: Path
    number: int
    span: Span | None

    @property
    def name(self) -> str:
        """`<shard>: record[<number>]`"""
        return f"{self.file}: record[{self.number}]"


def read_records(path: Path, split: str) -> list[Record]:
    """All records that the split should have, in the order of its shards.

    Raises:
        DatasetError: there is no such split, or a shard has another number of records than is stated.
    """
    info = _read_json(path / INFO)
    try:
        return _records(path, split, info)
    except (AttributeError, IndexError, KeyError, MemoryError, OverflowError, TypeError, ValueError) as error:
        raise DatasetError(f"{path / INFO}: expected TFDS's description of its files, got: {error!r}") from error


def _records(path: Path, split: str, info: dict[str, Any]) -> list[Record]:
    if info.get("fileFormat", "tfrecord") != "tfrecord":
        raise DatasetError(f"{path / INFO}: fileFormat: expected tfrecord, got {info['fileFormat']!r}")
    splits = {entry["name"]: entry for entry in info["splits"]}
    if split not in splits:
        raise DatasetError(f"{path / INFO}: splits: expected {split!r}, got {', '.join(splits) or 'none'}")
    lengths = [int(length) for length in splits[split]["shardLengths"]]
    template = splits[split].get("filepathTemplate", "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}")
    records: list[Record] = []
    for shard, length in enumerate(lengths):
        name = template.format(
            DATASET=info["name"],
            SPLIT=split,
            FILEFORMAT="tfrecord",
            SHARD_X_OF_Y=f"{shard:05d}-of-{len(lengths):05d}",
        )
        if Path(name).name != name or "\0" in name:
            raise DatasetError(f"{path / INFO}: splits.{split}: expected shards in its folder, got {name!r}")
        records += _shard_records(path / name, length, f"{path / INFO}: splits.{split}.shardLengths[{shard}]")
    return records


def read_step_features(path: Path) -> dict[str, Any]:
    """What a step holds, by its path in the step, e.g. `observation/image_0`; TFDS's own description of each.

    Raises:
        DatasetError: the schema cannot be read, or is not that of RLDS episodes.
    """
    schema = _read_json(path / FEATURES)
    try:
        steps = schema["featuresDict"]["features"]["steps"]["sequence"]["feature"]
        return dict(_leaves(steps, ""))
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise DatasetError(f"{path / FEATURES}: expected the schema of RLDS episodes, got: {error!r}") from error


def _leaves(feature: dict[str, Any], where: str) -> list[tuple[str, Any]]:
    if "featuresDict" not in feature:
        return [(where, feature)]
    inner = feature["featuresDict"]["features"].items()
    return [leaf for name, child in inner for leaf in _leaves(child, f"{where}/{name}".strip("/"))]


def _shard_records(file: Path, expected: int, where: str) -> list[Record]:
    spans: list[Span | None] = []
    with contextlib.suppress(DatasetError):  # each record is refused when it is asked for, where it can be counted
        spans += find_records(file)
    if not len(spans) <= expected <= MAX_SHARD_RECORDS:
        wanted = f"{len(spans)} as in {file.name}" if spans else f"0 to {MAX_SHARD_RECORDS}"
        raise DatasetError(f"{where}: expected {wanted}, got {expected}")
    spans += [None] * (expected - len(spans))
    return [Record(file=file, number=number, span=span) for number, span in enumerate(spans)]


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        below = ", ".join(sorted(str(found.parent) for found in file.parent.glob(f"*/{file.name}")))
        hint = f"; there is one in {below}" if below else ""
        raise DatasetError(f"{file}: expected a readable JSON file, got {error.strerror}{hint}") from error
    except (RecursionError, ValueError) as error:
        raise DatasetError(f"{file}: expected JSON, got: {error}") from error
    if not isinstance(value, dict):
        raise DatasetError(f"{file}: expected a mapping, got {type(value).__name__}")
    return value
