"""Chunks of a replay beside the recorded ones: the same to the last bit, and if not, by how much. No ROS here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.data.recorded_chunk import RecordedChunk
from vla_ros.errors import ContractError

NS = 1_000_000_000
POSITION_DIM = 3
OPEN_ABOVE = 0.5
"""An opening above it counts as open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two answers to one image."""

    recorded: RecordedChunk
    replayed: RecordedChunk

    @property
    def is_identical(self) -> bool:
        """To the last bit."""
        return self.recorded.is_same(self.replayed)

    def rows(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The rows that both have, recorded and replayed, each [n, 7] in m, rad and gripper opening.

        Raises:
            ContractError: rows of the two mean different things.
        """
        reason = self.recorded.unlike(self.replayed)
        if not reason and len(self.recorded.names) != len(ACTION_NAMES):
            reason = f"joint_names: expected {len(ACTION_NAMES)} of them, got {list(self.recorded.names)}"
        if reason:
            raise ContractError(f"chunk at {seconds(self.recorded.stamp_ns)} s: {reason}")
        count = min(len(self.recorded), len(self.replayed))
        return self.recorded.actions[:count], self.replayed.actions[:count]

    def first_difference(self) -> str:
        """Where the two begin to differ and by how much, in one line."""
        recorded, replayed = self.rows()
        changed = np.argwhere(recorded.view(np.int64) != replayed.view(np.int64))
        where = f"image {seconds(self.recorded.stamp_ns)} s"
        if not len(changed):
            return f"{where}: {len(self.recorded)} rows recorded, {len(self.replayed)} replayed"
        row, column = changed[0]
        name = self.recorded.names[column]
        return f"{where}, row {row}, {name}: {_change(column, recorded[row, column], replayed[row, column])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All answers of a replay beside the recorded ones.

    Attributes:
        images: how many were answered twice.
        identical: how many of the answers are the same to the last bit.
        first_difference: in one line; empty if all are identical.
        differences: replayed minus recorded, float64 [rows, 7] in m, rad and gripper opening.
        gripper_flips: rows in which one opens and the other closes.
        other_sizes: images that were answered with another number of rows.
    """

    images: int
    identical: int
    first_difference: str
    differences: NDArray[np.float64]
    gripper_flips: int
    other_sizes: int

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Self:
        """Compare one image or more.

        Raises:
            ContractError: rows of two answers mean different things.
        """
        rows = [pair.rows() for pair in pairs]
        different = [pair for pair in pairs if not pair.is_identical]
        is_open = [[part[:, ARM_DIM] > OPEN_ABOVE for part in parts] for parts in rows]
        return cls(
            images=len(pairs),
            identical=len(pairs) - len(different),
            first_difference=different[0].first_difference() if different else "",
            differences=np.concatenate([replayed - recorded for recorded, replayed in rows]),
            gripper_flips=sum(int(np.sum(recorded != replayed)) for recorded, replayed in is_open),
            other_sizes=sum(len(pair.recorded) != len(pair.replayed) for pair in pairs),
        )

    @property
    def is_identical(self) -> bool:
        """Whether every answer is, to the last bit."""
        return self.identical == self.images

    def magnitudes(self) -> dict[str, tuple[float, float]]:
        """Mean and largest absolute difference of each dimension, `x_mm` … `rz_deg`, and `gripper` as an opening."""
        size = np.abs(in_shown_units(self.differences))
        return {name: (float(size[:, k].mean()), float(size[:, k].max())) for k, name in enumerate(SHOWN_NAMES)}


SHOWN_NAMES = tuple(
    f"{name}_mm" if k < POSITION_DIM else f"{name}_deg" if k < ARM_DIM else name for k, name in enumerate(ACTION_NAMES)
)


def in_shown_units(actions: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, 7] in m and rad to mm and degrees."""
    return actions * np.array([1e3] * POSITION_DIM + [np.degrees(1)] * POSITION_DIM + [1])


def _change(column: int, recorded: float, replayed: float) -> str:
    scale, unit = (1e3, " mm") if column < POSITION_DIM else (1, " rad") if column < ARM_DIM else (1, "")
    values = f"{recorded * scale:.9g}{unit} recorded, {replayed * scale:.9g}{unit} replayed"
    return f"{values}, {(replayed - recorded) * scale:+.3g}{unit}"


def seconds(stamp_ns: int) -> str:
    """A stamp, to the nanosecond."""
    return f"{stamp_ns // NS}.{stamp_ns % NS:09d}"
