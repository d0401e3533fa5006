"""What a gate is configured with: one robot's limits and rules."""

from dataclasses import dataclass
from typing import Literal

from vla_ros.action import ActionSpace
from vla_ros.control.chunk_scheduler import LateSteps
from vla_ros.control.limits import MotionLimits, StepLimits, Workspace
from vla_ros.errors import ContractError

ExecutionHorizon = int | Literal["full", "half", "one"]
"""How many rows of a chunk are executed."""

PAUSE_TICKS = 5
"""So many ticks may fail to come at once, whatever the timeouts."""

Overlap = Literal["replace", "temporal_ensemble"]
"""What a new chunk does to the one in execution: it takes its place, or is averaged with it, by time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRules:
    """How the gate holds the arm, and what it takes to go on.

    Attributes:
        stop_ticks: within how many commands the arm slows down evenly to a stand; 0 and 1: at once.
        min_recovery_ns: for how long acceptable chunks must have been arriving again before one runs [ns].
        max_per_minute: more holds than this in a minute are a fault.
    """

    stop_ticks: int
    min_recovery_ns: int
    max_per_minute: int

    def __post_init__(self) -> None:
        for name in ("stop_ticks", "min_recovery_ns", "max_per_minute"):
            if getattr(self, name) < 0:
                raise ContractError(f"{name}: expected >= 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseRules:
    """How the gate knows where the end effector is; only a workspace and pose targets need it.

    Attributes:
        is_in_tool_frame: the deltas are along the axes of the end effector, not of the base frame.
        timeout_ns: a measured pose older than this holds the arm; None: it is given once, and integrated [ns].
        is_target: the robot is commanded poses: while it moves they follow from each other, never from a measured one,
            which lags behind.
    """

    is_in_tool_frame: bool
    timeout_ns: int | None
    is_target: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """One robot.

    Attributes:
        action_space: the robot's; chunks of another one are refused.
        ticks_per_row: commands per row of a chunk; more than one for a controller with a shorter period.
        execution_horizon: rows of a chunk that are executed.
        chunk_timeout_ns: without a due row for longer than this, RUN becomes HOLD [ns].
        motion: limits of speed and acceleration.
        steps: limits of a chunk's rows.
        hold: how the arm is held.
        late_steps: what becomes of rows that are past when their chunk arrives.
        overlap: what a new chunk does to the former one.
        temporal_ensemble_coeff: weights are exp(-coeff * age in rows), the oldest chunk's age being 0 (as in ACT).
        gripper_samples_to_open, gripper_samples_to_close: the gripper does so after so many rows in succession that
            want it.
        pose: None where nothing needs it.
        workspace: None for no walls.
    """

    action_space: ActionSpace
    ticks_per_row: int = 1
    execution_horizon: ExecutionHorizon
    chunk_timeout_ns: int
    motion: MotionLimits
    steps: StepLimits
    hold: HoldRules
    late_steps: LateSteps = "ledger"
    overlap: Overlap = "replace"
    temporal_ensemble_coeff: float = 0.01
    gripper_samples_to_open: int = 1
    gripper_samples_to_close: int = 1
    pose: PoseRules | None = None
    workspace: Workspace | None = None

    def __post_init__(self) -> None:
        samples = ("gripper_samples_to_open", "gripper_samples_to_close")
        for name in ("ticks_per_row", "execution_horizon", "chunk_timeout_ns", *samples):
            value = getattr(self, name)
            if isinstance(value, int) and value <= 0:
                raise ContractError(f"{name}: expected > 0, got {value}")
        if self.workspace is not None and self.pose is None:
            raise ContractError("workspace: expected a source of the end effector's pose, got none")
        if self.pose is not None and self.pose.is_in_tool_frame and self.action_space.rotation == "euler_xyz":
            raise ContractError("rotation: expected axis_angle for deltas in the end effector's frame, got euler_xyz")

    @property
    def tick_ns(self) -> int:
        """From one command to the next [ns]."""
        return round(self.action_space.period_ns / self.ticks_per_row)

    @property
    def tick_s(self) -> float:
        """The same [s]."""
        return self.tick_ns / 1e9

    @property
    def longest_pause_ns(self) -> int:
        """Between two ticks in mid-chunk; after a longer one the arm is held [ns]."""
        return max(self.chunk_timeout_ns, PAUSE_TICKS * self.tick_ns)

    def executed_rows(self, chunk_size: int) -> int:
        """Rows that are executed of a chunk with so many."""
        return executed_rows(self.execution_horizon, chunk_size)


def executed_rows(horizon: ExecutionHorizon, chunk_size: int) -> int:
    """Rows of a chunk of `chunk_size` that are executed, one at least; half of an odd number is rounded down."""
    named = {"full": chunk_size, "half": max(chunk_size // 2, 1), "one": 1}
    return min(named[horizon] if isinstance(horizon, str) else horizon, chunk_size)
