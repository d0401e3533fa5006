"""Poses, against hand-computed rotations."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_ros.control.pose import Pose
from vla_ros.errors import ContractError

QUARTER_Z = np.array([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)])
POSE = Pose(position_m=np.array([1.0, 2.0, 3.0]), quaternion_xyzw=QUARTER_Z)
DELTA = np.array([0.1, 0.0, 0.0, np.pi / 2, 0.0, 0.0])


def test_deltas_of_the_base_frame_move_along_its_axes() -> None:
    """The tool's x, which pointed along y, points up after a quarter turn about the base's x."""
    moved = POSE.moved(DELTA, "axis_angle", is_in_tool_frame=False)
    np.testing.assert_allclose(moved.position_m, [1.1, 2.0, 3.0])
    np.testing.assert_allclose(Rotation.from_quat(moved.quaternion_xyzw).apply([1, 0, 0]), [0, 0, 1], atol=1e-12)


def test_deltas_of_the_tool_frame_move_along_the_tool() -> None:
    """Its x points along y; a turn about it leaves it there."""
    moved = POSE.moved(DELTA, "axis_angle", is_in_tool_frame=True)
    np.testing.assert_allclose(moved.position_m, [1.0, 2.1, 3.0])
    np.testing.assert_allclose(Rotation.from_quat(moved.quaternion_xyzw).apply([1, 0, 0]), [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(Rotation.from_quat(moved.quaternion_xyzw).apply([0, 1, 0]), [0, 0, 1], atol=1e-12)


def test_euler_angles_are_added() -> None:
    start = Pose(
        position_m=np.zeros(3), quaternion_xyzw=np.asarray(Rotation.from_euler("xyz", [0.1, 0.2, 0.3]).as_quat())
    )
    moved = start.moved(np.array([0, 0, 0, 0.3, 0.1, -0.1]), "euler_xyz", is_in_tool_frame=False)
    np.testing.assert_allclose(Rotation.from_quat(moved.quaternion_xyzw).as_euler("xyz"), [0.4, 0.3, 0.2])


def test_a_vector_of_the_base_frame_read_by_the_tool() -> None:
    np.testing.assert_allclose(POSE.in_tool(np.array([0.0, 1.0, 0.0])), [1.0, 0.0, 0.0], atol=1e-12)


def test_a_vector_read_by_a_tool_that_is_turned_about_all_axes() -> None:
    """A third of a turn about (1, 1, 1): the tool's x, y and z are the base's y, z and x."""
    turned = Pose(position_m=np.zeros(3), quaternion_xyzw=np.full(4, 0.5))
    np.testing.assert_allclose(turned.in_tool(np.array([1.0, 2.0, 3.0])), [2.0, 3.0, 1.0])


def test_euler_angles_of_a_frame_that_turns_are_refused() -> None:
    with pytest.raises(ContractError) as refusal:
        POSE.moved(DELTA, "euler_xyz", is_in_tool_frame=True)
    assert str(refusal.value) == ("rotation: expected axis_angle for deltas in the end effector's frame, got euler_xyz")


def test_no_motion_changes_nothing() -> None:
    assert POSE.moved(np.zeros(6), "axis_angle", is_in_tool_frame=False) is POSE


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pose_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ContractError, match="pose: position_m: expected 3 finite numbers"):
        Pose(position_m=np.array([0.0, bad, 0.0]), quaternion_xyzw=QUARTER_Z)
    with pytest.raises(ContractError, match="pose: quaternion_xyzw: expected 4 finite numbers"):
        Pose(position_m=np.zeros(3), quaternion_xyzw=QUARTER_Z[:3])


def test_a_quaternion_that_a_message_rounded_is_taken() -> None:
    Pose(position_m=np.zeros(3), quaternion_xyzw=QUARTER_Z * 1.0005)


@pytest.mark.parametrize("scale", [0.0, 0.99, 1.01])
def test_a_quaternion_that_is_not_of_length_one_is_refused(scale: float) -> None:
    with pytest.raises(ContractError, match="expected a length of 1"):
        Pose(position_m=np.zeros(3), quaternion_xyzw=QUARTER_Z * scale)
