"""An action chunk as its message says it, for comparison to the last bit; no ROS needed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from vla_ros.errors import ContractError

NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedChunk:
    """The content of a trajectory_msgs/JointTrajectory, nothing of it judged.

    Attributes:
        stamp_ns: of the image that it answers [ns].
        frame_id: of the deltas.
        names: of an action's dimensions.
        times_ns: when each row is due, from the stamp on, int64 [n] [ns].
        actions: float64 [n, len(names)]: m, rad and gripper opening.
    """

    stamp_ns: int
    frame_id: str
    names: tuple[str, ...]
    times_ns: NDArray[np.int64]
    actions: NDArray[np.float64]

    @classmethod
    def of(cls, message: Any) -> Self:
        """Of a message, decoded by whichever library.

        Raises:
            ContractError: it has no rows, or they have not as many numbers as there are names.
        """
        names = tuple(message.joint_names)
        if not message.points:
            raise ContractError("points: expected at least one, got none")
        for k, point in enumerate(message.points):
            if len(point.positions) != len(names):
                got = len(point.positions)
                raise ContractError(f"points[{k}].positions: expected {len(names)} numbers, got {got}")
        rows = [list(point.positions) for point in message.points]
        return cls(
            stamp_ns=_ns(message.header.stamp),
            frame_id=str(message.header.frame_id),
            names=names,
            times_ns=np.array([_ns(point.time_from_start) for point in message.points], np.int64),
            actions=np.array(rows, np.float64).reshape(len(rows), len(names)),
        )

    def __len__(self) -> int:
        return len(self.actions)

    def is_same(self, other: "RecordedChunk") -> bool:
        """Whether every bit is: -0.0 is not 0.0, and a NaN is itself."""
        return self._frame() == other._frame() and self.actions.tobytes() == other.actions.tobytes()

    def unlike(self, other: "RecordedChunk") -> str:
        """Why their rows cannot be compared number by number, or an empty string."""
        rows = min(len(self), len(other))
        for name, ours, theirs in (
            ("joint_names", list(self.names), list(other.names)),
            ("header.frame_id", self.frame_id, other.frame_id),
            ("time_from_start", self.times_ns[:rows].tolist(), other.times_ns[:rows].tolist()),
        ):
            if ours != theirs:
                return f"{name}: expected {ours} as recorded, got {theirs}"
        return ""

    def _frame(self) -> tuple[object, ...]:
        return self.stamp_ns, self.frame_id, self.names, self.times_ns.tolist(), self.actions.shape


def _ns(time: Any) -> int:
    return int(time.sec) * NS + int(time.nanosec)
