"""The only rotation conversions: rotation vectors, quaternions (x, y, z, w) and matrices, float64."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]


def matrix_from_quaternion(quaternion_xyzw: Array) -> Array:
    """Rotation matrix [3, 3] of a quaternion [4] that need not be normalised."""
    return np.asarray(Rotation.from_quat(quaternion_xyzw).as_matrix())


def rotation_vector_from_quaternion(quaternion_xyzw: Array) -> Array:
    """Axis times angle [rad], [3], the short way round: q and -q give the same vector, its length is at most pi."""
    return np.asarray(Rotation.from_quat(quaternion_xyzw).as_rotvec())


def rotation_vector_between(target_xyzw: Array, source_xyzw: Array) -> Array:
    """Rotation vector [rad], [3], in the common parent frame, that turns `source` into `target`."""
    return np.asarray((Rotation.from_quat(target_xyzw) * Rotation.from_quat(source_xyzw).inv()).as_rotvec())


def compose_rotation_vectors(first: Array, second: Array) -> Array:
    """The rotation vector [rad], [3], of `first`, then `second`, both about the axes of the same frame."""
    return np.asarray((Rotation.from_rotvec(second) * Rotation.from_rotvec(first)).as_rotvec())


def rotate(quaternion_xyzw: Array, vector: Array) -> Array:
    """A vector [3], turned by a quaternion [4]."""
    return np.asarray(Rotation.from_quat(quaternion_xyzw).apply(vector))


def turn_quaternion(quaternion_xyzw: Array, turn: Array, reading: Literal["axis_angle", "euler_xyz"]) -> Array:
    """The orientation [4] after a further turn [rad], [3], about the axes of the frame in which it is given.

    Args:
        reading: a rotation vector, or Euler angles about the fixed axes x, y and z, which are added (CALVIN).
    """
    before = Rotation.from_quat(quaternion_xyzw)
    if reading == "axis_angle":
        return np.asarray((Rotation.from_rotvec(turn) * before).as_quat())
    return np.asarray(Rotation.from_euler("xyz", before.as_euler("xyz") + turn).as_quat())


def turning_euler_from_fixed_euler(angles: Array) -> Array:
    """Euler angles [rad], [3], about the axes x, y and z as they turn along, of the same rotation.

    Args:
        angles: about the fixed axes x, then y, then z (roll, pitch, yaw).
    """
    return np.asarray(Rotation.from_euler("xyz", angles).as_euler("XYZ"))
