"""How each public data set writes an action down: the one place where units, signs and rates are stated.

                 m / unit   rad / unit   gripper open, closed   rotation    rate   from
    LIBERO       0.05       0.5          -1, +1                 axis-angle  20 Hz  robosuite's OSC_POSE, [1]
    CALVIN       0.02       0.05         +1, -1                 euler xyz   30 Hz  `rel_actions`: scaling 50 and 20, [2]
    Bridge V2    1          1            1, 0                   euler xyz   5 Hz   state[t+1] - state[t], [3]

The deltas of all three are expressed along the axes of the robot's base. LIBERO's and CALVIN's are clipped to one unit.

[1] LIBERO, arXiv 2306.03310. [2] CALVIN, arXiv 2112.03227, dataset/README. [3] BridgeData V2, arXiv 2308.12952, and
VLM4VLA, arXiv 2601.03309: the recorded commands are not used, what the arm did until the next frame is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ARM_DIM, ActionSpace
from vla_ros.data.orientation import Orientation

Array = NDArray[Any]

_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionConvention:
    """How a data set writes an action: six arm numbers and a gripper number.

    Attributes:
        m_per_unit, rad_per_unit: what an arm number of 1 means.
        gripper_open, gripper_closed: the gripper number at either end.
        is_bounded: whether arm numbers are clipped to [-1, 1].
        action: frame and reading of the rotation, and the rate at which rows were recorded.
    """

    m_per_unit: float
    rad_per_unit: float
    gripper_open: float
    gripper_closed: float
    is_bounded: bool
    action: ActionSpace

    @property
    def arm_scale(self) -> NDArray[np.float64]:
        """Metres and radians per unit, [6]."""
        return np.array([self.m_per_unit] * 3 + [self.rad_per_unit] * 3)

    def to_si(self, actions: Array) -> NDArray[np.float32]:
        """The data set's units to m, rad and gripper opening (1 open, 0 closed); [..., 7] to float32 [..., 7]."""
        result = np.empty(actions.shape, np.float32)
        result[..., :ARM_DIM] = actions[..., :ARM_DIM] * self.arm_scale
        span = self.gripper_open - self.gripper_closed
        result[..., ARM_DIM] = np.clip((actions[..., ARM_DIM] - self.gripper_closed) / span, 0.0, 1.0)
        return result

    def from_si(self, actions: Array) -> NDArray[np.float64]:
        """The inverse of `to_si`; deltas beyond one unit are clipped where the data set's are."""
        result = np.empty(actions.shape, np.float64)
        arm = actions[..., :ARM_DIM] / self.arm_scale
        result[..., :ARM_DIM] = np.clip(arm, -1.0, 1.0) if self.is_bounded else arm
        span = self.gripper_open - self.gripper_closed
        result[..., ARM_DIM] = self.gripper_closed + span * actions[..., ARM_DIM]
        return result

    def exceeds_units(self, delta: Array) -> bool:
        """Whether `from_si` would clip this end-effector delta [6] (m, rad); rounding does not count."""
        return self.is_bounded and bool((np.abs(delta / self.arm_scale) > 1 + _UNIT_TOLERANCE).any())


LIBERO = ActionConvention(
    m_per_unit=0.05,
    rad_per_unit=0.5,
    gripper_open=-1.0,
    gripper_closed=1.0,
    is_bounded=True,
    action=ActionSpace(frame_id="base", rotation="axis_angle", control_rate_hz=20.0),
)

CALVIN = ActionConvention(
    m_per_unit=0.02,
    rad_per_unit=0.05,
    gripper_open=1.0,
    gripper_closed=-1.0,
    is_bounded=True,
    action=ActionSpace(frame_id="base", rotation="euler_xyz", control_rate_hz=30.0),
)

BRIDGE = ActionConvention(
    m_per_unit=1.0,
    rad_per_unit=1.0,
    gripper_open=1.0,
    gripper_closed=0.0,
    is_bounded=False,
    action=ActionSpace(frame_id="base", rotation="euler_xyz", control_rate_hz=5.0),
)

LIBERO_NO_NOOPS_ORIENTATION: Orientation = "mirrored"
"""How the frames of the published `libero_*_no_noops` (RLDS, and the LeRobot data sets made of them) are stored.

LIBERO stores its frames bottom-up. Their converter turned each by 180 degrees, which also swaps left and right: the
readers here swap them back, so that a policy sees in training what the simulator's camera, or a real one, shows.
"""
