"""Displacements of an end effector, float64 [6], metres and radians: one after the other, and what undoes one.

Rotation vectors (`axis_angle`) turn about the axes of a frame that stands still; `euler_xyz` angles are added, as
CALVIN does. In a frame that moves with the end effector, sums are exact only as far as it does not turn meanwhile.
"""

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ARM_DIM, Rotation
from vla_ros.rotation import compose_rotation_vectors

Displacement = NDArray[np.float64]

NONE: Displacement = np.zeros(ARM_DIM)
NONE.flags.writeable = False


def compose(first: Displacement, second: Displacement, rotation: Rotation) -> Displacement:
    """`first`, then `second`; exactly one of them where the other is none."""
    total = first + second
    if rotation == "axis_angle" and first[3:].any() and second[3:].any():
        total[3:] = compose_rotation_vectors(first[3:], second[3:])
    return total


def remaining(wanted: Displacement, done: Displacement, rotation: Rotation) -> Displacement:
    """What is left to do of `wanted` once `done` was done."""
    return compose(-done, wanted, rotation)
