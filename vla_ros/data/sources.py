"""Where demonstrations come from: one key per format in a YAML file, one reader each."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

from typing_extensions import Self

from vla_ros.data.calvin import CalvinSource
from vla_ros.data.episode import EpisodeDataset
from vla_ros.data.lerobot import LerobotSource
from vla_ros.data.libero import LiberoSource
from vla_ros.data.mcap import McapSource
from vla_ros.data.rlds import RldsSource
from vla_ros.errors import DatasetError


class Source(Protocol):
    """The demonstrations of one format: a frozen dataclass of paths and choices."""

    @classmethod
    def detect(cls, path: Path) -> Self | None:
        """The source that this file or folder is, if it has the marks of the format; None if it is another one."""
        ...

    def open(self) -> EpisodeDataset:
        """Raises DatasetError if there is nothing of this format."""
        ...


FORMATS: dict[str, tuple[type[Source], str]] = {
    "libero": (LiberoSource, "an .hdf5 file, or a folder of them"),
    "calvin": (CalvinSource, "a folder with training/ or validation/ and in it lang_annotations/auto_lang_ann.npy"),
    "rlds": (RldsSource, "a folder with dataset_info.json and features.json"),
    "lerobot": (LerobotSource, "a folder with meta/info.json"),
    "mcap": (McapSource, "an .mcap file, a rosbag2 folder, or a folder of them"),
}
"""By the key in DataSource: the format's source, and what `detect` looks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Exactly one of these is given; each opens with `open()`."""

    libero: LiberoSource | None = None
    calvin: CalvinSource | None = None
    rlds: RldsSource | None = None
    lerobot: LerobotSource | None = None
    mcap: McapSource | None = None

    def __post_init__(self) -> None:
        given = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        if len(given) != 1:
            names = ", ".join(field.name for field in fields(self))
            raise ValueError(f"source: expected exactly one of {names}, got {', '.join(given) or 'nothing'}")

    def open(self) -> EpisodeDataset:
        """Raises DatasetError if there is nothing of this format."""
        given = (getattr(self, field.name) for field in fields(self))
        opened: EpisodeDataset = next(source for source in given if source is not None).open()
        return opened


def detect(path: Path) -> DataSource:
    """The source that a file or a folder is.

    Raises:
        DatasetError: it has the marks of no format that is known here.
    """
    for name, (source, _) in FORMATS.items():
        found = source.detect(path)
        if found is not None:
            return DataSource(**{name: found})  # type: ignore[arg-type]
    known = "; ".join(f"{mark} ({name})" for name, (_, mark) in FORMATS.items())
    got = "something else" if path.exists() else "nothing"
    raise DatasetError(f"{path}: expected one of {known}; got {got}")
