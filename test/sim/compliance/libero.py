"""LIBERO under the suite."""

import numpy as np

from test.sim.compliance.subject import Measurement, Subject, command
from vla_ros.data.conventions import LIBERO
from vla_ros.sim.libero import CAMERA_NAME, LiberoSimulator


def measure(simulator: LiberoSimulator) -> Measurement:
    """Positions relative to the robot's base, whose axes are the world's."""
    privileged = simulator.privileged()
    data = simulator._env.sim.data
    base = data.get_body_xpos(simulator._env.robots[0].robot_model.root_body)
    return Measurement(
        position=privileged.effector_position - base,
        quaternion_xyzw=privileged.effector_quaternion_xyzw,
        opening=privileged.gripper_opening,
        state=simulator.state(),
        camera_position=np.array(data.get_camera_xpos(CAMERA_NAME)) - base,
    )


SUBJECT = Subject(
    open=LiberoSimulator,
    measure=measure,
    action=LIBERO.action,
    free=(1.0, 1.0, 1.0),
    step_m=0.02,
    step_rad=0.1,
    # OSC_POSE adds a delta to the measured pose: a critically damped spring (150/s^2) with a new goal every 0.05 s
    # moves 0.27 of each delta once it is in motion, and less from rest
    moved=(0.22, 0.29),
    turned=(0.38, 0.5),  # but a zero rotation keeps the goal
    rest_steps=15,
    clamped=command(0, 0.06),
    max_steps=280,
)
