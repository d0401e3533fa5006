"""Open loop, without an image: the rows that stack the green cube on the yellow one in the benchmark's episode 0."""

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import GRIPPER_CLOSED, GRIPPER_OPEN

ROWS_PER_CHUNK = 4

# from where the arm starts, along the axes of its base: metres in all, gripper, rows
MOVES = (
    ((0.065, 0.084, 0.0), GRIPPER_OPEN, 6),
    ((0.0, 0.0, -0.115), GRIPPER_OPEN, 6),
    ((0.0, 0.0, 0.0), GRIPPER_CLOSED, 5),
    ((0.0, 0.0, 0.09), GRIPPER_CLOSED, 5),
    ((0.0, -0.1, 0.0), GRIPPER_CLOSED, 6),
    ((0.0, 0.0, 0.0), GRIPPER_CLOSED, 3),
    ((0.0, 0.0, -0.055), GRIPPER_CLOSED, 5),
    ((0.0, 0.0, 0.0), GRIPPER_OPEN, 5),
    ((0.0, 0.0, 0.08), GRIPPER_OPEN, 7),
)


def rows() -> NDArray[np.float32]:
    """All rows of the episode: float32 [48, 7], metres, radians and gripper opening."""
    steps = []
    for move, gripper, count in MOVES:
        steps += [[*np.divide(move, count), 0.0, 0.0, 0.0, gripper]] * count
    return np.array(steps, np.float32)
