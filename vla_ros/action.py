"""What a policy commands: end-effector deltas and a gripper opening, in SI units."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vla_ros.errors import ContractError

ACTION_NAMES = ("x", "y", "z", "rx", "ry", "rz", "gripper")
"""The dimensions of one action: translation [m], rotation [rad], gripper opening (1 open, 0 closed)."""

ARM_DIM = 6
GRIPPER_OPEN = 1.0
GRIPPER_CLOSED = 0.0

Rotation = Literal["axis_angle", "euler_xyz"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpace:
    """The meaning of an action row: who may execute it, and how fast.

    Attributes:
        frame_id: the frame in which the deltas are expressed, e.g. `base`.
        rotation: how the three rotation numbers are read.
        control_rate_hz: how many rows are executed per second [Hz].
    """

    frame_id: str
    rotation: Rotation
    control_rate_hz: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.control_rate_hz) and self.control_rate_hz > 0):
            raise ContractError(f"control_rate_hz: expected a positive number, got {self.control_rate_hz}")
        if not self.frame_id:
            raise ContractError("frame_id: expected a frame name, got an empty string")

    @property
    def period_ns(self) -> int:
        """Control period [ns]."""
        return round(1e9 / self.control_rate_hz)

    def check_same(self, other: "ActionSpace", self_name: str, other_name: str) -> None:
        """Refuse to join two parts whose actions mean different things.

        Raises:
            ContractError: names the first field that differs, both values and both parts.
        """
        for field in ("frame_id", "rotation", "control_rate_hz"):
            ours, theirs = getattr(self, field), getattr(other, field)
            if ours != theirs:
                raise ContractError(f"{other_name}: {field}: expected {ours!r} as in {self_name}, got {theirs!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionChunk:
    """Consecutive actions predicted from one observation.

    Attributes:
        actions: float32 [chunk_size, 7], columns as in ACTION_NAMES: m, rad, gripper opening in [0, 1].
        stamp_ns: capture stamp of the observation, ROS time [ns]; row k is due during
            [stamp_ns + k * period_ns, stamp_ns + (k + 1) * period_ns).
        period_ns: control period [ns].
        frame_id: frame of the deltas.
        rotation: how the three rotation numbers are read.

    Raises:
        ContractError: wrong shape, a non-finite number or a gripper outside [0, 1]; the whole chunk is refused.
    """

    actions: NDArray[np.float32]
    stamp_ns: int
    period_ns: int
    frame_id: str
    rotation: Rotation

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or self.actions.shape[0] == 0 or self.actions.shape[1] != len(ACTION_NAMES):
            raise ContractError(f"chunk: expected [n > 0, {len(ACTION_NAMES)}], got {list(self.actions.shape)}")
        if not np.isfinite(self.actions).all():
            row, column = np.argwhere(~np.isfinite(self.actions))[0]
            raise ContractError(
                f"chunk: actions[{row}].{ACTION_NAMES[column]}: expected a finite number, "
                f"got {self.actions[row, column]}"
            )
        gripper = self.actions[:, ARM_DIM]
        if gripper.min() < GRIPPER_CLOSED or gripper.max() > GRIPPER_OPEN:
            raise ContractError(f"chunk: gripper: expected [0, 1], got [{gripper.min()}, {gripper.max()}]")
        if self.period_ns <= 0:
            raise ContractError(f"chunk: period_ns: expected > 0, got {self.period_ns}")

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What the robot does during one control period.

    Attributes:
        delta: float64 [6], end-effector translation [m] and rotation [rad] of this period.
        gripper: opening to move to, 1 open, 0 closed; None keeps what was last commanded.
    """

    delta: NDArray[np.float64]
    gripper: float | None

    @classmethod
    def stop(cls, gripper: float | None = None) -> "Command":
        """A zero delta; the gripper keeps its last commanded state (a stop never opens it)."""
        return cls(delta=np.zeros(ARM_DIM), gripper=gripper)

    @property
    def is_stop(self) -> bool:
        """Whether the arm is commanded to stand still."""
        return not self.delta.any()
