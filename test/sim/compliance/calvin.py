"""CALVIN under the suite."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from test.sim.compliance.subject import Measurement, Subject, command
from vla_ros.data.conventions import CALVIN
from vla_ros.rotation import rotation_vector_between, turn_quaternion
from vla_ros.sim.calvin import MAX_STEPS, CalvinSimulator

BASE_POSITION = (-0.34, -0.46, 0.24)
LOOK_FROM = (2.871459009488717, -2.166602199425597, 2.555159848480571)
"""The robot and the static camera in CALVIN's world (calvin_env/conf) [m]."""
FINGER_GAP_OPEN_M = 0.08


def measure(simulator: CalvinSimulator) -> Measurement:
    """Positions relative to the robot's base, whose axes are the world's."""
    robot = simulator.robot_state()
    return Measurement(
        position=robot[:3] - BASE_POSITION,
        quaternion_xyzw=Rotation.from_euler("xyz", robot[3:6]).as_quat(),
        opening=robot[6] / FINGER_GAP_OPEN_M,
        state=np.concatenate([robot, simulator.scene_state()]),
        camera_position=np.subtract(LOOK_FROM, BASE_POSITION),
    )


def turn_axes(quaternion_xyzw: NDArray[np.float64]) -> NDArray[np.float64]:
    """A delta is added to one of the Euler angles: that turns about an axis which the other angles decide over."""
    turns = [
        rotation_vector_between(turn_quaternion(quaternion_xyzw, turn, "euler_xyz"), quaternion_xyzw) / 0.1
        for turn in 0.1 * np.eye(3)
    ]
    return np.array(turns)


SUBJECT = Subject(
    open=CalvinSimulator,
    measure=measure,
    action=CALVIN.action,
    free=(1.0, -1.0, 1.0),
    step_m=0.01,
    step_rad=0.03,
    # the arm follows a target that the deltas are added to
    moved=(0.95, 1.03),
    turned=(0.95, 1.03),
    rest_steps=15,
    clamped=command(0, 0.021),
    max_steps=MAX_STEPS,
    turn_axes=turn_axes,
)
