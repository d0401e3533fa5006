"""LeRobot data sets, versions 2.0 to 3.0: parquet tables with the images beside them as videos, or within as PNG.

LeRobot names the numbers of an action at most, so that the user says what they mean. What the usual converters write:

    data set                                         convention   orientation   info.json's fps
    LIBERO by openpi (physical-intelligence/libero)  libero       mirrored      10, though recorded at 20 Hz
    LIBERO by openx2lerobot (IPEC-COMMUNITY)         libero_oxe   mirrored      20
    Bridge by openx2lerobot (IPEC-COMMUNITY)         bridge       upright       5

LIBERO's images were turned by 180 degrees on their way through RLDS; as OpenGL had stored them upside down, they stand
upright now, and mirrored. Open X-Embodiment's version of LIBERO also turned the gripper into 1 open, 0 closed. Bridge
has its first step dropped, its actions relabelled as state[t+1] - state[t] and its gripper binarised already; angles
were subtracted without wrapping. Copies of these sets differ, so look at yours: `vla-ros inspect`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import Self

from vla_ros.config import check_numbers
from vla_ros.data import lerobot_v2, lerobot_v3
from vla_ros.data.checks import checked_actions, checked_instruction
from vla_ros.data.conventions import BRIDGE, CALVIN, LIBERO, ActionConvention
from vla_ros.data.episode import Episode, EpisodeDataset, FrameReader
from vla_ros.data.lerobot_info import EpisodeRecord, camera_dtypes, info_error, read_info, read_json
from vla_ros.data.orientation import Orientation, upright
from vla_ros.data.parquet import ParquetFrames, numbers, read_rows, whole_numbers
from vla_ros.data.video import VideoFrames
from vla_ros.errors import DatasetError

CONVENTIONS = {
    "libero": LIBERO,
    "libero_oxe": replace(LIBERO, gripper_open=1.0, gripper_closed=0.0),
    "calvin": CALVIN,
    "bridge": BRIDGE,
}

_UNIFORM_TOLERANCE = 0.1
"""A time stamp may be off by this share of a period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LerobotSource:
    """A LeRobot data set on disk.

    Attributes:
        path: its folder, which holds `meta/info.json`.
        camera: the feature with the images, e.g. `observation.images.image`.
        convention: how its actions are written; see the table above.
        own_convention: the same, spelled out, for a data set of one's own; exactly one of the two is given.
        action: the feature with the actions, seven numbers.
        orientation: how its images are stored.
        stated_fps: what info.json says where that is known to be wrong; None demands the convention's rate there.
    """

    path: Path
    camera: str
    convention: Literal["libero", "libero_oxe", "calvin", "bridge"] | None = None
    own_convention: ActionConvention | None = None
    action: str = "action"
    orientation: Orientation = "upright"
    stated_fps: float | None = None

    def __post_init__(self) -> None:
        if (self.convention is None) == (self.own_convention is None):
            raise ValueError(
                "convention: expected one, or an own_convention, as LeRobot does not say what the numbers mean, "
                f"got {'neither' if self.convention is None else 'both'}"
            )
        if self.stated_fps is not None:
            check_numbers(self, "stated_fps", above=0)

    @classmethod
    def detect(cls, path: Path) -> Self | None:
        """Never a source, as the files do not say what their actions mean.

        Raises:
            DatasetError: it is a LeRobot data set; says what is to be added, and in which file.
        """
        if not (path / "meta" / "info.json").is_file():
            return None
        cameras = "|".join(camera_dtypes(read_json(path / "meta" / "info.json"))) or "..."
        raise DatasetError(
            f"{path}: convention: expected what LeRobot does not say, namely how the actions are written; put "
            f"`lerobot: {{path: {path}, camera: {cameras}, convention: {'|'.join(CONVENTIONS)}}}` "
            "into a YAML file and name that instead"
        )

    def open(self) -> "LerobotDataset":
        """Raises DatasetError if there is no such data set, or it has another rate or no such camera."""
        return LerobotDataset(self)


class LerobotDataset(EpisodeDataset):
    """The episodes of one LeRobot data set, in the order of their numbers.

    Raises:
        DatasetError: `meta/` is missing or damaged, the rate is another or there is no such camera.
    """

    def __init__(self, source: LerobotSource) -> None:
        info = read_info(source.path, source.camera)
        version = lerobot_v3 if info.version == "v3.0" else lerobot_v2
        self._convention = source.own_convention or CONVENTIONS[source.convention or ""]
        self.source = str(source.path)
        self.action = self._convention.action
        expected_fps = source.stated_fps or self.action.control_rate_hz
        if info.fps != expected_fps:
            raise info_error(
                source.path,
                "fps",
                f"{expected_fps:g}, the rate of this convention",
                f"{info.fps:g}; if the file is wrong and the actions are right, say `stated_fps: {info.fps:g}`",
            )
        self._given, self._fps, self._is_video = source, info.fps, info.video_key is not None
        self._tasks = version.read_tasks(info)
        self._episodes = version.read_episodes(info)
        if not self._episodes:
            raise DatasetError(f"{source.path}: expected episodes, got none")

    def __len__(self) -> int:
        return len(self._episodes)

    def episode(self, index: int) -> Episode:
        """See `EpisodeDataset.episode`; one with several tasks is refused, as it would need several instructions."""
        record = self._episodes[index]
        name = f"{record.data}: episode_{record.index}"
        columns = ["episode_index", "frame_index", "task_index", "timestamp", self._given.action]
        # one more than there should be, to see whether it is another episode's
        rows = read_rows(record.data, record.first_row, record.length + 1, columns)
        rows = _checked_rows(rows, record, name)
        times_s = numbers(rows["timestamp"], f"{name}.timestamp").astype(np.float64)
        self._check_times(times_s, name)
        frames = self._frames(record, times_s)
        values = numbers(rows[self._given.action], f"{name}.{self._given.action}")
        return Episode(
            name=name,
            instruction=self._instruction(rows["task_index"], name),
            actions=checked_actions(values, self._convention, f"{name}.{self._given.action}"),
            frames=upright(frames, self._given.orientation),
        )

    def _frames(self, record: EpisodeRecord, times_s: NDArray[np.float64]) -> FrameReader:
        if record.video is None:
            return ParquetFrames(record.data, self._given.camera, record.first_row, record.length)
        frames = VideoFrames(record.video, record.video_from_s + times_s, 1 / self._fps)
        frames.check_length()
        return frames

    def _check_times(self, times_s: NDArray[np.float64], name: str) -> None:
        if times_s.ndim != 1:
            raise DatasetError(f"{name}.timestamp: expected one number per step, got {times_s.shape[1]}")
        expected_s = np.arange(len(times_s)) / self._fps
        is_off = ~(np.abs(times_s - expected_s) <= _UNIFORM_TOLERANCE / self._fps)
        if is_off.any():
            step = int(np.flatnonzero(is_off)[0])
            raise DatasetError(
                f"{name}.timestamp[{step}]: expected {expected_s[step]:.4f} s at {self._fps:g} fps, "
                f"got {times_s[step]:.4f} s"
            )

    def _instruction(self, task_indices: pa.ChunkedArray, name: str) -> str:
        indices = np.unique(whole_numbers(task_indices, f"{name}.task_index")).tolist()
        if len(indices) != 1:
            raise DatasetError(f"{name}.task_index: expected one task, got {len(indices)}: {indices}")
        if indices[0] not in self._tasks:
            raise DatasetError(f"{name}.task_index: expected a number of meta/tasks, got {indices[0]}")
        return checked_instruction(self._tasks[indices[0]], f"{self.source}: meta.tasks[{indices[0]}]")


def _checked_rows(rows: pa.Table, record: EpisodeRecord, name: str) -> pa.Table:
    """The episode's own; refuses a truncated file, one that has more of it than is stated, and rows of another."""
    indices = whole_numbers(rows["episode_index"], f"{name}.episode_index")
    if len(rows) < record.length or record.index in indices[record.length :]:
        got = "more" if len(rows) > record.length else str(len(rows))
        raise DatasetError(f"{name}: expected {record.length} steps as in meta/, got {got}")
    rows = rows.slice(0, record.length)
    for column, expected in (
        ("episode_index", np.full(record.length, record.index)),
        ("frame_index", np.arange(record.length)),
    ):
        found = whole_numbers(rows[column], f"{name}.{column}")
        is_other = found != expected
        if is_other.any():
            step = int(np.flatnonzero(is_other)[0])
            raise DatasetError(f"{name}.{column}[{step}]: expected {expected[step]}, got {found[step]}")
    return rows
