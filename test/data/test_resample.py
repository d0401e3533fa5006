"""Messages at any time, to values at ticks."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_ros.data.resample import motion_of_poses, motion_of_twists, newest_at, with_rotation

MS = 1_000_000
PERIOD_NS = 50 * MS
TIMEOUT_NS = 100 * MS


def motion(times_ms: list[float], twists: list[list[float]], ticks_ms: list[float]) -> np.ndarray:
    stamps_ns, ticks_ns = (np.array(times, np.float64) * MS for times in (times_ms, ticks_ms))
    return motion_of_twists(
        stamps_ns.astype(np.int64), np.array(twists), ticks_ns.astype(np.int64), PERIOD_NS, TIMEOUT_NS
    )


def along_x(speeds: list[float]) -> list[list[float]]:
    return [[speed, 0, 0, 0, 0, 0] for speed in speeds]


def test_the_newest_message_is_never_younger_than_the_tick() -> None:
    assert newest_at(np.array([10, 20, 30]), np.array([9, 10, 29, 30, 99])).tolist() == [-1, 0, 1, 2, 2]


def test_a_velocity_holds_until_the_next_one() -> None:
    moved = motion([0, 20, 70], along_x([1, 2, 3]), [0, 50])
    np.testing.assert_allclose(moved[:, 0], [0.020 * 1 + 0.030 * 2, 0.020 * 2 + 0.030 * 3])


def test_a_velocity_without_a_successor_ends_at_the_timeout() -> None:
    moved = motion([0, 300], along_x([1, 1]), [0, 50, 75, 100, 150, 260])
    np.testing.assert_allclose(moved[:, 0], [0.05, 0.05, 0.025, 0, 0, 0.01], atol=1e-12)


def test_before_the_first_velocity_nothing_moves() -> None:
    np.testing.assert_allclose(motion([40], along_x([1]), [0])[:, 0], [0.01])


def test_rotations_follow_one_another_along_the_axes_of_the_base() -> None:
    spins = [[0, 0, 0, 0, 0, 20.0], [0, 0, 0, 20.0, 0, 0]]
    moved = motion([0, 25], spins, [0])
    expected = (Rotation.from_rotvec([0.5, 0, 0]) * Rotation.from_rotvec([0, 0, 0.5])).as_rotvec()
    np.testing.assert_allclose(moved[0, 3:], expected)


def test_ticks_partition_the_motion() -> None:
    random = np.random.default_rng(0)
    times_ms = np.sort(random.uniform(0, 500, 60)).tolist()
    speeds = random.normal(size=60).tolist()
    fine = motion(times_ms, along_x(speeds), list(np.arange(0, 500, 50)))[:, 0].sum()
    ends = np.append(times_ms[1:], 500)
    np.testing.assert_allclose(fine, (np.array(speeds) * (ends - times_ms)).sum() / 1000, atol=1e-6)


def test_poses_between_their_stamps_are_interpolated() -> None:
    stamps_ns = np.array([0, 30, 60, 90, 120]) * MS
    positions = np.outer(stamps_ns / 1e9, [1.0, 0, 0])
    turns = Rotation.from_rotvec(np.outer(stamps_ns / 1e9, [0, 2.0, 0])).as_quat()
    moved = motion_of_poses(stamps_ns, positions, turns, np.array([5, 55, 105]) * MS)
    np.testing.assert_allclose(moved, [[0.05, 0, 0, 0, 0.1, 0]] * 2, atol=1e-12)


def test_q_and_minus_q_are_the_same_orientation() -> None:
    quaternions = np.array([[0, 0, 0, 1.0], [0, 0, 0, -1.0]])
    moved = motion_of_poses(np.array([0, 50]) * MS, np.zeros((2, 3)), quaternions, np.array([0, 50]) * MS)
    np.testing.assert_allclose(moved, np.zeros((1, 6)), atol=1e-12)


@pytest.mark.parametrize("angles", [(0.1, -0.2, 0.3), (1.0, 0.5, -1.2)])
def test_euler_angles_are_roll_pitch_yaw_about_fixed_axes(angles: tuple[float, float, float]) -> None:
    roll, pitch, yaw = (Rotation.from_rotvec(np.eye(3)[axis] * angle) for axis, angle in enumerate(angles))
    row = np.array([[1, 2, 3, *(yaw * pitch * roll).as_rotvec()]])
    np.testing.assert_allclose(with_rotation(row, "euler_xyz"), [[1, 2, 3, *angles]], atol=1e-12)
    np.testing.assert_array_equal(with_rotation(row, "axis_angle"), row)
