"""SimplerEnv's Bridge tasks under the suite."""

import numpy as np

from test.sim.compliance.subject import Measurement, Subject, command
from vla_ros.data.conventions import BRIDGE
from vla_ros.sim.simpler import SimplerSimulator

CAMERA_POSITION = (0.0, -0.16, 0.36)
"""Of ManiSkill's `3rd_view_camera` on the robot's base (WidowX250SBridgeDatasetFlatTable) [m]."""


def measure(simulator: SimplerSimulator) -> Measurement:
    return Measurement(
        position=simulator.effector_position(),
        quaternion_xyzw=simulator.effector_quaternion_xyzw(),
        opening=simulator.gripper_opening(),
        state=simulator.state(),
        camera_position=np.array(CAMERA_POSITION),
    )


SUBJECT = Subject(
    open=SimplerSimulator,
    measure=measure,
    action=BRIDGE.action,
    free=(-1.0, 1.0, 1.0),
    step_m=0.02,
    step_rad=0.06,
    moved=(0.97, 1.01),
    turned=(0.97, 1.01),
    rest_steps=6,
    clamped=command(0, 1.0),  # out of the arm's reach
    max_steps=60,
)
