"""Messages that come when they come, to values at the ticks of a control rate."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation as Turn
from scipy.spatial.transform import Slerp

from vla_ros.action import Rotation

Stamps = NDArray[np.int64]
Array = NDArray[np.float64]

_S_PER_NS = 1e-9


def newest_at(stamps_ns: Stamps, times_ns: Stamps) -> NDArray[np.int64]:
    """Index of the newest message that is not younger than each time; -1 where there is none."""
    return np.asarray(np.searchsorted(stamps_ns, times_ns, side="right") - 1, np.int64)


def motion_of_twists(stamps_ns: Stamps, twists: Array, ticks_ns: Stamps, period_ns: int, timeout_ns: int) -> Array:
    """What commanded velocities move during the period after each tick.

    A velocity holds until the next one comes, or for `timeout_ns`, after which a servo stops the arm. Translations add
    up; rotations, which are given along the axes of the base, follow one another from the left.

    Args:
        stamps_ns: increasing [n].
        twists: [n, 6], m/s and rad/s, base frame.

    Returns:
        [ticks, 6], m and rotation vector in rad, base frame.
    """
    ends_ns = np.minimum(np.append(stamps_ns[1:], np.iinfo(np.int64).max), stamps_ns + timeout_ns)
    first = np.maximum(newest_at(stamps_ns, ticks_ns), 0)
    behind = np.searchsorted(stamps_ns, ticks_ns + period_ns, side="left")
    motion = np.zeros((len(ticks_ns), 6))
    for k, tick_ns in enumerate(ticks_ns):
        part = slice(first[k], behind[k])
        overlap_ns = np.minimum(ends_ns[part], tick_ns + period_ns) - np.maximum(stamps_ns[part], tick_ns)
        parts = twists[part] * np.maximum(overlap_ns, 0)[:, None] * _S_PER_NS
        motion[k, :3] = parts[:, :3].sum(axis=0)
        motion[k, 3:] = _compose(parts[:, 3:])
    return motion


def _compose(vectors: Array) -> Array:
    vectors = vectors[np.any(vectors != 0, axis=1)]
    if len(vectors) <= 1:
        return np.asarray(vectors.sum(axis=0))
    turn = Turn.identity()
    for vector in vectors:
        turn = Turn.from_rotvec(vector) * turn
    return np.asarray(turn.as_rotvec())


def motion_of_poses(stamps_ns: Stamps, positions: Array, quaternions_xyzw: Array, ticks_ns: Stamps) -> Array:
    """How an end effector moved from each tick to the next.

    Poses are interpolated between their stamps: at the newest pose before each tick, a pose rate that is no multiple of
    the control rate would shake.

    Args:
        stamps_ns: strictly increasing [n].
        positions: [n, 3], base frame [m].
        ticks_ns: within the stamps [m].

    Returns:
        [m - 1, 6]: p[t+1] - p[t] [m] and the rotation vector of R[t+1] R[t]^T [rad], both along the base's axes.
    """
    times, ticks = (stamps_ns - stamps_ns[0]) * _S_PER_NS, (ticks_ns - stamps_ns[0]) * _S_PER_NS
    at_ticks = np.stack([np.interp(ticks, times, axis) for axis in positions.T], axis=1)
    turns = Slerp(times, Turn.from_quat(quaternions_xyzw))(np.clip(ticks, times[0], times[-1]))
    return np.concatenate([np.diff(at_ticks, axis=0), (turns[1:] * turns[:-1].inv()).as_rotvec()], axis=1)


def with_rotation(motion: Array, rotation: Rotation) -> Array:
    """Motions [n, 6] with rotation vectors, their rotation written as the ActionSpace reads it."""
    if rotation == "axis_angle":
        return motion
    euler = Turn.from_rotvec(motion[:, 3:]).as_euler("xyz")  # about the base's fixed axes: roll, pitch, yaw
    return np.concatenate([motion[:, :3], euler], axis=1)
