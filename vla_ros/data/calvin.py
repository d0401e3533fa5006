"""CALVIN's own layout (arXiv 2112.03227, and `dataset/README.md` of its repository).

    <path>/training/                            environments A, B and C in the split ABC->D
    <path>/validation/                          environment D
        episode_0000000.npz ...                 one file a frame, 30 Hz
            rgb_static     uint8 [200, 200, 3]  the static camera, RGB, upright
            rel_actions    [7]                  in [-1, 1]: 0.02 m and 0.05 rad per unit (x, y, z, Euler angles x, y, z,
                                                along the axes of the world, which the base is parallel to);
                                                gripper -1 close, +1 open
        lang_annotations/auto_lang_ann.npy      a pickled dict:
            language.ann   texts
            info.indx      (start, end) of each: frames start to end - 1, as CALVIN's annotator cuts them

What is between the annotated windows is play without an instruction, and is not read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from vla_ros.action import ACTION_NAMES
from vla_ros.data.checks import checked_actions, checked_instruction, reason, stacked
from vla_ros.data.conventions import CALVIN
from vla_ros.data.episode import Episode, EpisodeDataset
from vla_ros.data.safe_pickle import load_object, plain
from vla_ros.errors import DatasetError

CalvinSplit = Literal["training", "validation"]
ANNOTATIONS = Path("lang_annotations", "auto_lang_ann.npy")


@dataclass(frozen=True, slots=True, kw_only=True)
class CalvinSource:
    """CALVIN as it is downloaded and unpacked.

    Attributes:
        path: the folder that holds `training` and `validation`, e.g. `task_ABC_D`.
        split: which of the two.
    """

    path: Path
    split: CalvinSplit = "training"

    @classmethod
    def detect(cls, path: Path) -> Self | None:
        """See `sources.Source`."""
        splits: tuple[CalvinSplit, CalvinSplit] = ("training", "validation")
        for split in splits:
            if path.name == split and (path / ANNOTATIONS).is_file():
                return cls(path=path.parent, split=split)
            if (path / split / ANNOTATIONS).is_file():
                return cls(path=path, split=split)
        return None

    def open(self) -> "CalvinDataset":
        """Raises DatasetError if there are no language annotations."""
        return CalvinDataset(self.path, self.split)


class CalvinDataset(EpisodeDataset):
    """One episode for each language annotation; see `CalvinSource`.

    Raises:
        DatasetError: the annotations are missing, not plain data, or not of CALVIN's form.
    """

    def __init__(self, path: Path, split: CalvinSplit) -> None:
        self.source = str(path)
        self.action = CALVIN.action
        self.folder = path / split
        self.annotations = self.folder / ANNOTATIONS
        stored = load_object(self.annotations)
        self._texts = self._list(stored, "language", "ann")
        self._windows = self._list(stored, "info", "indx")
        if len(self._texts) != len(self._windows):
            found = f"{len(self._texts)} texts and {len(self._windows)} windows"
            raise DatasetError(f"{self.annotations}: expected one text for each window, got {found}")

    def _list(self, stored: Any, group: str, name: str) -> list[Any]:
        inner = stored.get(group) if isinstance(stored, dict) else None
        where = f"{self.annotations}: {group}.{name}"
        values = plain(inner.get(name), where) if isinstance(inner, dict) else None
        if not isinstance(values, list):
            raise DatasetError(f"{where}: expected a list, got {type(values).__name__}")
        return values

    def __len__(self) -> int:
        return len(self._windows)

    def episode(self, index: int) -> Episode:
        """See `EpisodeDataset.episode`."""
        name = f"{self.annotations}: info.indx[{index}]"
        window = self._windows[index]
        if not (isinstance(window, list) and len(window) == 2 and all(type(frame) is int for frame in window)):
            raise DatasetError(f"{name}: expected two frame numbers, got {window!r}")
        start, end = window
        if not 0 <= start < end:
            raise DatasetError(f"{name}: expected 0 <= start < end, got {start} and {end}")
        text = checked_instruction(self._texts[index], f"{self.annotations}: language.ann[{index}]")
        rows = [_read_actions(frame_file(self.folder, frame)) for frame in range(start, end)]
        actions = checked_actions(
            np.stack(rows), CALVIN, f"{frame_file(self.folder, start)} and following: rel_actions"
        )
        return Episode(name=name, instruction=text, actions=actions, frames=CalvinFrames(self.folder, start))


@dataclass(frozen=True, slots=True)
class CalvinFrames:
    """Reads frames of one window, a file each.

    Attributes:
        folder: of the frames.
        start: number of the window's first frame.
    """

    folder: Path
    start: int

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames uint8 [len(steps), H, W, 3]; see `FrameReader`."""
        frames = [_read_image(frame_file(self.folder, self.start + int(step))) for step in steps]
        return stacked(frames, str(frame_file(self.folder, self.start)))


def frame_file(folder: Path, frame: int) -> Path:
    """Where a frame is kept."""
    return folder / f"episode_{frame:07d}.npz"


def _read_image(file: Path) -> NDArray[np.uint8]:
    image = _read_field(file, "rgb_static")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DatasetError(f"{file}: rgb_static: expected uint8 [n, n, 3], got {image.dtype} {list(image.shape)}")
    return image


def _read_actions(file: Path) -> NDArray[Any]:
    values = _read_field(file, "rel_actions")
    if values.dtype.kind not in "fiu" or values.shape != (len(ACTION_NAMES),):
        wanted = f"numbers [{len(ACTION_NAMES)}]"
        raise DatasetError(f"{file}: rel_actions: expected {wanted}, got {values.dtype} {list(values.shape)}")
    if not np.isfinite(values).all():
        raise DatasetError(f"{file}: rel_actions: expected finite numbers, got NaN or infinity")
    return values


def _read_field(file: Path, name: str) -> NDArray[Any]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return np.asarray(stored[name])
    except KeyError as error:
        raise DatasetError(f"{file}: {name}: expected an array, got nothing") from error
    except Exception as error:  # NumPy raises whatever its parsers do
        raise DatasetError(f"{file}: {name}: expected an array in a whole .npz file, got: {reason(error)}") from error
