"""Limits of what a robot is commanded, and the last thing that happens to a delta before it leaves."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ARM_DIM, ActionChunk
from vla_ros.control.displacement import Displacement
from vla_ros.control.pose import Pose
from vla_ros.errors import ContractError

TRANSLATION, ROTATION = slice(0, 3), slice(3, ARM_DIM)
"""The parts of a displacement; each is limited on its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionLimits:
    """How fast the end effector may be commanded, and how fast that may change.

    Attributes:
        max_linear_speed_m_s: of the translation vector's norm [m/s].
        max_angular_speed_rad_s: of the rotation vector's norm [rad/s].
        max_linear_acceleration_m_s2: of the change of the linear velocity from tick to tick [m/s^2].
        max_angular_acceleration_rad_s2: the same of the angular velocity [rad/s^2].
    """

    max_linear_speed_m_s: float
    max_angular_speed_rad_s: float
    max_linear_acceleration_m_s2: float
    max_angular_acceleration_rad_s2: float

    def __post_init__(self) -> None:
        _check_positive(self, *(item.name for item in dataclasses.fields(self)))

    @property
    def parts(self) -> tuple[tuple[slice, float, float], ...]:
        """Translation and rotation, each with its greatest speed and acceleration."""
        return (
            (TRANSLATION, self.max_linear_speed_m_s, self.max_linear_acceleration_m_s2),
            (ROTATION, self.max_angular_speed_rad_s, self.max_angular_acceleration_rad_s2),
        )

    def catching_up(self, owed: Displacement, tick_s: float) -> Displacement:
        """How much of what is owed may be made up for in one tick: as fast as it can still stop from in time.

        Without this an arm that may only brake so hard would run past what it owes, and back again, for ever.
        """
        if not owed.any():
            return owed
        part = owed.copy()
        for at, _, acceleration in self.parts:
            part[at] *= _scale(part[at], braking_step(float(np.linalg.norm(part[at])), acceleration * tick_s**2))
        return part

    def clamp(
        self, delta: Displacement, previous: Displacement, tick_s: float, lasts_s: float
    ) -> tuple[Displacement, bool]:
        """Shorten a delta to what the limits allow within one tick.

        Args:
            delta: float64 [6], metres and radians of one tick; beyond the speed limits its direction is kept.
            previous: float64 [6], what the tick before commanded.
            tick_s: from one command to the next [s].
            lasts_s: for how much of that the motion may last, `tick_s` but at a chunk's end [s].

        Returns:
            The delta to command, and whether it was changed.

        Raises:
            ContractError: a number is not finite; `min` and `max` would turn a NaN into full speed.
        """
        if not np.isfinite(delta).all():
            raise ContractError(f"delta: expected finite numbers, got {delta.tolist()}")
        limited = delta.copy()
        for at, speed, acceleration in self.parts:
            limited[at] *= _scale(delta[at], speed * lasts_s)
            change = limited[at] - previous[at]
            scale = _scale(change, acceleration * tick_s**2)
            if scale < 1.0:
                limited[at] = previous[at] + change * scale
        if np.array_equal(limited, delta):
            return delta, False
        return limited, True


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimits:
    """What a row of a chunk may ask for; more says that the policy does not know what it does.

    Attributes:
        max_step_m: of a row's translation [m].
        max_step_rad: of a row's rotation [rad].
        max_clamped_fraction: of a chunk's rows, from 0 to 1; a chunk with more rows beyond the limits is a fault.
    """

    max_step_m: float
    max_step_rad: float
    max_clamped_fraction: float

    def __post_init__(self) -> None:
        _check_positive(self, "max_step_m", "max_step_rad")
        if not 0 <= self.max_clamped_fraction <= 1:
            raise ContractError(f"max_clamped_fraction: expected 0 to 1, got {self.max_clamped_fraction}")

    def clamp(self, chunk: ActionChunk) -> tuple[ActionChunk, int]:
        """The chunk with its long rows shortened, and how many these were."""
        actions, is_long = chunk.actions.copy(), np.zeros(len(chunk), bool)
        for at, limit in ((TRANSLATION, self.max_step_m), (ROTATION, self.max_step_rad)):
            norms = np.linalg.norm(np.asarray(actions[:, at], np.float64), axis=1)  # float32 would overflow
            long = norms > limit
            actions[long, at] *= limit / norms[long, None]
            is_long |= long
        count = int(is_long.sum())
        return (dataclasses.replace(chunk, actions=actions), count) if count else (chunk, 0)

    def is_fault(self, clamped: int, rows: int) -> bool:
        """Whether so many rows beyond the limits are more than a robot should go along with."""
        return clamped > self.max_clamped_fraction * rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A box along the axes of the base frame, which the end effector's position does not leave.

    Attributes:
        least_m, most_m: float64 [3], its corners [m]; infinite where there is no wall.
    """

    least_m: NDArray[np.float64]
    most_m: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not (self.least_m < self.most_m).all():
            least, most = self.least_m.tolist(), self.most_m.tolist()
            raise ContractError(f"workspace_max_m: expected more than workspace_min_m, {least}, got {most}")

    def clamp(
        self, delta: Displacement, pose: Pose, acceleration_m_s2: float, tick_s: float, *, is_in_tool_frame: bool
    ) -> tuple[Displacement, bool]:
        """Take off what would lead out of the box, wall by wall: the arm slides along, and slows down towards, a wall.

        From outside only motions inwards are left.

        Args:
            delta: float64 [6], of one tick, in the deltas' frame.
            pose: before the tick.
            acceleration_m_s2: with which the arm may brake [m/s^2].
            tick_s: the tick [s].

        Returns:
            The delta to command, and whether it was changed.
        """
        step = acceleration_m_s2 / np.sqrt(3) * tick_s**2  # three walls at once brake no harder than one
        base = pose.in_base(delta, is_in_tool_frame=is_in_tool_frame)[:3]
        down = [braking_step(max(room, 0.0), step) for room in pose.position_m - self.least_m]
        up = [braking_step(max(room, 0.0), step) for room in self.most_m - pose.position_m]
        limited = np.clip(base, -np.array(down), up)
        if np.array_equal(limited, base):
            return delta, False
        return np.concatenate([pose.in_tool(limited) if is_in_tool_frame else limited, delta[3:]]), True


def braking_step(distance: float, change: float) -> float:
    """The longest step from which steps, each shorter by `change`, come to rest at `distance`."""
    if not np.isfinite(distance):
        return distance
    more = np.floor((np.sqrt(1 + 8 * distance / change) - 1) / 2)  # steps after this one
    return float(distance / (more + 1) + change * more / 2)


def _check_positive(values: object, *names: str) -> None:
    for name in names:
        value = getattr(values, name)
        if not (np.isfinite(value) and value > 0):
            raise ContractError(f"{name}: expected a positive number, got {value}")


def _scale(vector: NDArray[np.float64], limit: float) -> float:
    norm = float(np.linalg.norm(vector))
    return 1.0 if norm <= limit else limit / norm
