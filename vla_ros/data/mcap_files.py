"""MCAP files and rosbag2 folders: which there are, and whether they are whole; no ROS needed."""

import glob
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from mcap.reader import make_reader

from vla_ros import config
from vla_ros.data.checks import reason
from vla_ros.errors import ConfigError, DatasetError

MAGIC = b"\x89MCAP0\r\n"

_FOOTER = struct.Struct("<BQQQI")
"""Opcode, length, where the summary begins, where its index does, and the summary's CRC-32, 0 where there is none."""


def list_episodes(path: Path) -> list[Path]:
    """The episodes at a path or glob pattern, each a file or a rosbag2 folder, by name; none is opened."""
    if path.is_dir():
        if (path / "metadata.yaml").is_file():
            return [path]
        return sorted({*path.glob("*.mcap"), *(bag.parent for bag in path.glob("*/metadata.yaml"))})
    if path.is_file():
        return [path] if path.suffix == ".mcap" else []
    return [episode for name in sorted(glob.glob(str(path), recursive=True)) for episode in list_episodes(Path(name))]


def files_of(episode: Path) -> tuple[Path, ...]:
    """The MCAP files of an episode in their order; a rosbag2 folder may have several.

    Raises:
        DatasetError: a rosbag2 folder's metadata are damaged, of another storage, or name files outside of it.
    """
    if not episode.is_dir():
        return (episode,)
    metadata = episode / "metadata.yaml"
    try:
        info = config.parse(config.read_text(metadata, "rosbag2 metadata"), str(metadata))[
            "rosbag2_bagfile_information"
        ]
        storage, names = info["storage_identifier"], [str(name) for name in info["relative_file_paths"]]
    except ConfigError as error:
        raise DatasetError(str(error)) from error
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{metadata}: expected rosbag2's metadata, got: {error!r}") from error
    if storage != "mcap" or not names or not all(name.endswith(".mcap") for name in names):
        raise DatasetError(
            f"{metadata}: storage_identifier: expected uncompressed mcap files, got {storage} with {names}; "
            "`ros2 bag convert` writes them"
        )
    for name in map(Path, names):
        if name.is_absolute() or ".." in name.parts or "\0" in str(name):
            raise DatasetError(f"{metadata}: relative_file_paths: expected files in its folder, got {str(name)!r}")
    return tuple(episode / name for name in names)


def channels(file: Path) -> dict[str, str]:
    """The type of every topic in a file.

    Raises:
        DatasetError: it is no finished MCAP file.
    """
    check_finished(file)
    with file.open("rb") as stream:
        try:
            summary = make_reader(stream).get_summary()
        except Exception as error:  # the library raises whatever its parsers do
            raise damaged(file, error) from error
    if summary is None:
        raise DatasetError(f"{file}: expected a summary at its end, got none; `mcap recover` writes one")
    return {
        channel.topic: summary.schemas[channel.schema_id].name
        for channel in summary.channels.values()
        if channel.schema_id in summary.schemas
    }


def metadata_of(file: Path, name: str) -> dict[str, str]:
    """A metadata record of a file; empty if it has none of that name.

    Raises:
        DatasetError: it is no finished MCAP file.
    """
    check_finished(file)
    with file.open("rb") as stream:
        try:
            records = list(make_reader(stream).iter_metadata())
        except Exception as error:  # the library raises whatever its parsers do
            raise damaged(file, error) from error
    return next((record.metadata for record in records if record.name == name), {})


def check_finished(file: Path) -> None:
    """Raises DatasetError if it is no MCAP file, one whose recorder was killed, or one with a damaged summary."""
    try:
        with file.open("rb") as stream:
            start = stream.read(len(MAGIC))
            stream.seek(-len(MAGIC), 2)
            end = stream.read()
            is_whole = end != MAGIC or _has_whole_summary(stream)
    except OSError as error:
        raise DatasetError(f"{file}: expected an MCAP file, got: {error.strerror or error}") from error
    if start != MAGIC:
        raise DatasetError(f"{file}: expected an MCAP file, got other content")
    if end != MAGIC:
        raise DatasetError(
            f"{file}: expected a finished recording, got one that was cut off; "
            f"`vla-ros record --recover {file}` saves what is whole"
        )
    if not is_whole:
        raise DatasetError(
            f"{file}: expected a whole MCAP file, got one with a damaged summary; "
            f"`vla-ros record --recover {file}` saves what is whole"
        )


def _has_whole_summary(stream: BinaryIO) -> bool:
    """Whether it fits its checksum: the library does not look, and would decode messages by what a flipped bit says."""
    footer = stream.seek(-_FOOTER.size - len(MAGIC), 2)
    _, _, start, _, checksum = _FOOTER.unpack(stream.read(_FOOTER.size))
    if not checksum or not start:
        return True
    stream.seek(min(start, footer))
    return zlib.crc32(stream.read(footer + _FOOTER.size - 4 - stream.tell())) == checksum


def damaged(file: Path, error: Exception) -> DatasetError:
    """An error of the MCAP library, for the user."""
    return DatasetError(f"{file}: expected a whole MCAP file, got: {type(error).__name__}: {reason(error)}")
