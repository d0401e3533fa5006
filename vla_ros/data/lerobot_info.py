"""`meta/info.json` of a LeRobot data set, which says where everything else is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros.errors import DatasetError

VERSIONS = ("v2.0", "v2.1", "v3.0")
"""2.0 differs from 2.1 only in files that are not read here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord:
    """Where one episode lies.

    Attributes:
        index: its number in the data set.
        length: its number of steps.
        data: its parquet file.
        first_row: of the episode in that file.
        video: its video file; None where the camera's images are in the parquet file.
        video_from_s: time of its first frame in that video [s].
    """

    index: int
    length: int
    data: Path
    first_row: int
    video: Path | None
    video_from_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LerobotInfo:
    """What `info.json` says, for one camera.

    Attributes:
        root: the data set's folder.
        version: one of VERSIONS.
        fps: frames per second.
        video_key: the camera, if it is stored as videos; None if as images in the parquet files.
        fields: all of the file.
    """

    root: Path
    version: str
    fps: float
    video_key: str | None
    fields: dict[str, Any]

    def data_file(self, **numbers: int) -> Path:
        """The parquet file of these numbers."""
        return self._fill("data_path", **numbers)

    def video_file(self, **numbers: int) -> Path:
        """The camera's video file of these numbers."""
        return self._fill("video_path", video_key=self.video_key, **numbers)

    def _fill(self, name: str, **values: Any) -> Path:
        pattern = self.fields.get(name)
        if not isinstance(pattern, str):
            raise info_error(self.root, name, "a pattern of a path", repr(pattern))
        try:
            path = Path(pattern.format(**values))
        except (AttributeError, KeyError, IndexError, MemoryError, TypeError, ValueError) as error:
            wanted = ", ".join(f"{{{key}}}" for key in values)
            raise info_error(self.root, name, f"a pattern of {wanted}", repr(pattern)) from error
        if path.is_absolute() or ".." in path.parts or "\0" in pattern:
            raise info_error(self.root, name, "a path inside the data set", repr(pattern))
        return self.root / path


def read_info(root: Path, camera: str) -> LerobotInfo:
    """Read `meta/info.json` below `root`.

    Args:
        camera: the feature that holds the images, e.g. `observation.images.image`.

    Raises:
        DatasetError: the file is missing or damaged, the version is another, or there is no such camera.
    """
    fields = read_json(root / "meta" / "info.json")
    version, fps = fields.get("codebase_version"), fields.get("fps")
    if version not in VERSIONS:
        raise info_error(root, "codebase_version", f"one of {', '.join(VERSIONS)}", repr(version))
    if not isinstance(fps, int | float) or not fps > 0:
        raise info_error(root, "fps", "a positive number", repr(fps))
    dtypes = camera_dtypes(fields)
    if camera not in dtypes:
        have = ", ".join(dtypes) or "none"
        raise info_error(root, f"features.{camera}", f"a camera of this data set ({have})", "nothing")
    video_key = camera if dtypes[camera] == "video" else None
    return LerobotInfo(root=root, version=version, fps=float(fps), video_key=video_key, fields=fields)


def camera_dtypes(fields: dict[str, Any]) -> dict[str, str]:
    """The cameras among the features, each `video` or `image`."""
    features = fields.get("features")
    found = features.items() if isinstance(features, dict) else ()
    dtypes = {name: feature.get("dtype") for name, feature in found if isinstance(feature, dict)}
    return {name: dtype for name, dtype in sorted(dtypes.items()) if dtype in ("video", "image")}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object."""
    try:
        content = json.loads(read_text(path))
    except (RecursionError, ValueError) as error:
        raise DatasetError(f"{path}: expected JSON, got: {error}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def read_text(path: Path) -> str:
    """The text of a file of the data set."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{path}: expected a file of a LeRobot data set, got: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: expected UTF-8 text, got {error.reason}") from error


def info_error(root: Path, field: str, expected: str, got: str) -> DatasetError:
    """An error about a field of `info.json`."""
    return DatasetError(f"{root / 'meta' / 'info.json'}: {field}: expected {expected}, got {got}")
