"""Where the end effector is, or is to be, in the robot's base frame."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import Rotation
from vla_ros.control.displacement import Displacement
from vla_ros.errors import ContractError
from vla_ros.rotation import rotate, turn_quaternion

UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """A pose in the robot's base frame.

    Attributes:
        position_m: float64 [3] [m].
        quaternion_xyzw: float64 [4], of length 1, base_from_end_effector.

    Raises:
        ContractError: a number is not finite, or the quaternion's length is not 1.
    """

    position_m: NDArray[np.float64]
    quaternion_xyzw: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, size in (("position_m", 3), ("quaternion_xyzw", 4)):
            value = getattr(self, name)
            if value.shape != (size,) or not np.isfinite(value).all():
                raise ContractError(f"pose: {name}: expected {size} finite numbers, got {value.tolist()}")
        length = float(np.linalg.norm(self.quaternion_xyzw))
        if not math.isclose(length, 1.0, abs_tol=UNIT_TOLERANCE):
            raise ContractError(f"pose: quaternion_xyzw: expected a length of 1, got {length:.3f}")

    def in_base(self, delta: Displacement, *, is_in_tool_frame: bool) -> Displacement:
        """A displacement [6] of the deltas' frame, along the axes of the base frame."""
        if not is_in_tool_frame:
            return delta
        return np.concatenate([rotate(self.quaternion_xyzw, part) for part in (delta[:3], delta[3:])])

    def in_tool(self, vector_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """A vector [3] of the base frame, along the axes of the end effector."""
        inverse = np.concatenate([-self.quaternion_xyzw[:3], self.quaternion_xyzw[3:]])
        return rotate(inverse, vector_m)

    def moved(self, delta: Displacement, rotation: Rotation, *, is_in_tool_frame: bool) -> "Pose":
        """The pose after a displacement [6], whose rotation is read as `rotation` says."""
        if not delta.any():
            return self
        if is_in_tool_frame and rotation == "euler_xyz":
            raise ContractError("rotation: expected axis_angle for deltas in the end effector's frame, got euler_xyz")
        base = self.in_base(delta, is_in_tool_frame=is_in_tool_frame)
        return Pose(
            position_m=self.position_m + base[:3],
            quaternion_xyzw=turn_quaternion(self.quaternion_xyzw, base[3:], rotation),
        )
