"""MCAP files and rosbag2 folders: which there are, and whether they are whole; no ROS needed."""

import glob
from pathlib import Path

from mcap.reader import make_reader

from vla_ros import config
from vla_ros.errors import ConfigError, DatasetError

MAGIC = b"\x89MCAP0\r\n"


def list_episodes(path: Path) -> list[tuple[Path, ...]]:
    """The files of each episode at a path or glob pattern, by name; a rosbag2 folder may have several files.

    Raises:
        DatasetError: a rosbag2 folder is damaged, or of another storage.
    """
    if path.is_dir():
        if (path / "metadata.yaml").is_file():
            return [_rosbag2_files(path)]
        inside = sorted([*path.glob("*.mcap"), *(bag.parent for bag in path.glob("*/metadata.yaml"))])
        return [files for entry in inside for files in list_episodes(entry)]
    if path.is_file():
        return [(path,)] if path.suffix == ".mcap" else []
    return [files for name in sorted(glob.glob(str(path), recursive=True)) for files in list_episodes(Path(name))]


def _rosbag2_files(folder: Path) -> tuple[Path, ...]:
    metadata = folder / "metadata.yaml"
    try:
        info = config.parse(config.read_text(metadata, "rosbag2 metadata"), str(metadata))[
            "rosbag2_bagfile_information"
        ]
        storage, names = info["storage_identifier"], [str(name) for name in info["relative_file_paths"]]
    except (ConfigError, KeyError, TypeError) as error:
        raise DatasetError(f"{metadata}: expected rosbag2's metadata, got: {error!r}") from error
    if storage != "mcap" or not names or not all(name.endswith(".mcap") for name in names):
        raise DatasetError(
            f"{metadata}: storage_identifier: expected uncompressed mcap files, got {storage} with {names}; "
            "`ros2 bag convert` writes them"
        )
    return tuple(folder / name for name in names)


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


def check_finished(file: Path) -> None:
    """Raises DatasetError if it is no MCAP file, or one whose recorder was killed."""
    try:
        with file.open("rb") as stream:
            start = stream.read(len(MAGIC))
            stream.seek(-len(MAGIC), 2)
            end = stream.read()
    except OSError as error:
        raise DatasetError(f"{file}: expected an MCAP file, got: {error.strerror or error}") from error
    if start != MAGIC:
        raise DatasetError(f"{file}: expected an MCAP file, got other content")
    if end != MAGIC:
        raise DatasetError(
            f"{file}: expected a finished recording, got one that was cut off; "
            f"`vla-ros record --recover {file}` saves what is whole"
        )


def damaged(file: Path, error: Exception) -> DatasetError:
    """An error of the MCAP library, for the user."""
    return DatasetError(f"{file}: expected a whole MCAP file, got: {type(error).__name__}: {error}")
