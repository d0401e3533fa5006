"""command_gate's outputs, of a real process; the test plays policy, operator, controllers and arm."""

import signal
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TwistStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from test.node.cell import FRAMES, PERIOD_NS, QUARTER_TURN_ABOUT_Z, ROW_MM, ROWS, START_M, Arm, Cell
from test.node.fleet import GATE, Fleet, Probe
from vla_ros.node import qos

TARGETS = {"arm_output": "pose", **FRAMES, "pose_source": "start", "start_pose": [*START_M, *QUARTER_TURN_ABOUT_Z]}
FOLLOWING = {"arm_output": "pose", **FRAMES, "pose_source": "topic"}
TRAJECTORY = {
    "gripper_output": "joint_trajectory",
    "gripper_joint": "left_finger",
    "gripper_open_position": 0.037,
    "gripper_closed_position": 0.015,
    "gripper_time_s": 1.25,
}


def positions(targets: list[PoseStamped]) -> np.ndarray:
    points = [target.pose.position for target in targets]
    return np.array([[point.x, point.y, point.z] for point in points])


# ---- poses ----


def test_target_poses_follow_from_the_start_pose_and_stay_where_they_are_in_a_stop(fleet: Fleet, probe: Probe) -> None:
    targets = probe.listen("target_pose", PoseStamped)
    cell = Cell(fleet, probe, **TARGETS)
    probe.until(lambda: targets, "a target before anything moves")
    cell.play()
    path = positions(targets)
    np.testing.assert_allclose(path[0], START_M)
    assert np.diff(path[:, 0]).min() >= 0
    assert 0 < path[-1, 0] - path[0, 0] <= ROW_MM.sum() / 1000 + 1e-9
    np.testing.assert_allclose(path[:, 1:], np.tile(START_M[1:], (len(path), 1)), atol=1e-12)
    count = len(targets)
    probe.until(lambda: len(targets) >= count + 3, "targets that continue in the hold")
    assert (positions(targets)[count - 1 :] == path[-1]).all()
    assert {target.header.frame_id for target in targets} == {"base"}
    turn = targets[-1].pose.orientation
    np.testing.assert_allclose([turn.x, turn.y, turn.z, turn.w], QUARTER_TURN_ABOUT_Z)


def test_deltas_of_the_tools_frame_move_the_target_along_the_tools_axes(fleet: Fleet, probe: Probe) -> None:
    targets = probe.listen("target_pose", PoseStamped)
    Cell(fleet, probe, **{**TARGETS, "frame_id": "tool"}).play(frame_id="tool")
    moved = positions(targets)[-1] - START_M
    assert moved[1] > 0  # the tool's x is the base's y
    np.testing.assert_allclose(moved[[0, 2]], 0, atol=1e-9)


def test_shutting_down_repeats_the_last_target(fleet: Fleet, probe: Probe) -> None:
    targets = probe.listen("target_pose", PoseStamped)
    cell = Cell(fleet, probe, **TARGETS)
    cell.play()
    assert fleet.interrupt("command_gate", signal.SIGINT) == 0
    cell.until_state("INACTIVE: shut down")
    path = positions(targets)
    assert (path[-1] == path[-2]).all()


def test_a_second_publisher_of_targets_is_a_fault(fleet: Fleet, probe: Probe) -> None:
    probe.listen("target_pose", PoseStamped)
    cell = Cell(fleet, probe, **TARGETS)
    cell.until_state("ARMED")
    probe.node.create_publisher(PoseStamped, "target_pose", qos.RELIABLE)
    cell.until_state("FAULT: /target_pose: expected one publisher, this gate, got 2")


def test_an_arm_that_is_not_where_it_was_told_to_be_is_held_and_goes_on_from_where_it_is(
    fleet: Fleet, probe: Probe
) -> None:
    targets = probe.listen("target_pose", PoseStamped)
    arm = Arm(probe)
    cell = Cell(fleet, probe, **FOLLOWING, max_pose_error_m=0.02)
    cell.until_state("ARMED: waiting for an instruction")
    cell.instruct()
    cell.send_chunk()  # 36 mm, and this arm does not move at all
    cell.until_state("HOLD: the end effector is 0.0")
    probe.until(lambda: np.allclose(positions(targets)[-1], arm.position_m), "a target where the arm is")
    assert positions(targets)[:, 0].max() <= START_M[0] + ROW_MM.sum() / 1000 + 1e-9


def test_a_target_does_not_sink_with_an_arm_that_hangs_a_little_below_it(fleet: Fleet, probe: Probe) -> None:
    targets = probe.listen("target_pose", PoseStamped)
    arm = Arm(probe)
    cell = Cell(fleet, probe, **FOLLOWING)
    cell.until_state("ARMED: waiting for an instruction")
    probe.until(lambda: targets, "a target")
    first = positions(targets)[-1]
    for _ in range(5):
        arm.position_m = (positions(targets)[-1] - [0, 0, 0.004]).tolist()
        last = targets[-1]
        probe.until(lambda last=last: len(targets) - targets.index(last) > 4, "more targets")
    np.testing.assert_array_equal(positions(targets)[-1], first)


# ---- velocities ----


def test_velocities_are_six_labelled_numbers_and_zeros_in_a_stop(fleet: Fleet, probe: Probe) -> None:
    velocities = probe.listen("velocity_commands", Float64MultiArray)
    cell = Cell(fleet, probe, arm_output="velocity_array")
    cell.play()
    moved_m = sum(message.data[0] for message in velocities) * PERIOD_NS / 1e9
    assert 0 < moved_m <= ROW_MM.sum() / 1000 + 1e-6
    assert all(list(message.data[1:]) == [0.0] * 5 for message in velocities)
    assert list(velocities[-1].data) == [0.0] * 6
    (dimension,) = velocities[0].layout.dim
    assert (dimension.label, dimension.size, dimension.stride) == ("vx,vy,vz,wx,wy,wz", 6, 6)


# ---- the rate of commands ----


def test_commands_come_faster_than_rows_and_are_velocities_still(fleet: Fleet, probe: Probe) -> None:
    twists = probe.listen("delta_twist_cmds", TwistStamped)
    cell = Cell(fleet, probe, command_rate_hz=100.0)
    cell.play()
    moving = [twist.twist.linear.x for twist in twists if twist.twist.linear.x]
    assert len(moving) > ROWS
    assert 0 < sum(moving) * 0.01 <= ROW_MM.sum() / 1000 + 1e-6


# ---- the gripper ----


def test_a_gripper_trajectory_is_sent_on_change_only(fleet: Fleet, probe: Probe) -> None:
    twists = probe.listen("delta_twist_cmds", TwistStamped)
    trajectories = probe.listen("gripper_trajectory", JointTrajectory)
    cell = Cell(fleet, probe, **TRAJECTORY)
    cell.play(opening=1.0)
    cell.send_chunk(opening=1.0)
    cell.until_state("RUN")
    cell.until_state("HOLD")
    cell.send_chunk(opening=0.0)
    probe.until(lambda: len(trajectories) >= 2, "another gripper command")
    cell.until_state("HOLD")
    assert len(twists) > ROWS
    assert [list(message.points[0].positions) for message in trajectories] == [[0.037], [0.015]]
    first = trajectories[0]
    assert list(first.joint_names) == ["left_finger"]
    assert (first.points[0].time_from_start.sec, first.points[0].time_from_start.nanosec) == (1, 250_000_000)
    assert (first.header.stamp.sec, first.header.stamp.nanosec) == (0, 0)  # from now on


def test_a_gripper_controller_that_comes_back_is_told_again(fleet: Fleet, probe: Probe) -> None:
    twists = probe.listen("delta_twist_cmds", TwistStamped)
    trajectories = probe.listen("gripper_trajectory", JointTrajectory)
    cell = Cell(fleet, probe, **TRAJECTORY)
    cell.play(opening=0.0)
    assert len(trajectories) == 1
    again: list[JointTrajectory] = []
    probe.node.create_subscription(JointTrajectory, "gripper_trajectory", again.append, qos.RELIABLE)
    count = len(twists)
    probe.until(lambda: len(twists) >= count + 10, "rest")
    assert not again  # whoever joins may only listen: that moves no gripper
    cell.send_chunk(0.0)
    probe.until(lambda: again, "the gripper's last command")
    assert list(again[0].points[0].positions) == [0.015]


def test_without_its_gripper_controller_the_arm_does_not_move(fleet: Fleet, probe: Probe) -> None:
    probe.listen("delta_twist_cmds", TwistStamped)
    cell = Cell(fleet, probe, **TRAJECTORY)
    cell.until_state("ARMED: /gripper_trajectory: no subscriber")
    probe.listen("gripper_trajectory", JointTrajectory)
    cell.until_state("ARMED: waiting for an instruction")


def test_without_a_gripper_nothing_is_said_of_it(fleet: Fleet, probe: Probe) -> None:
    probe.listen("delta_twist_cmds", TwistStamped)
    grippers = probe.listen("gripper_command", JointState)
    Cell(fleet, probe, gripper_output="none").play()
    assert probe.node.count_publishers("gripper_command") == 0
    assert grippers == []


# ---- who listens ----


def test_without_a_subscriber_the_gate_stays_armed_and_nothing_runs_once_there_is_one(
    fleet: Fleet, probe: Probe
) -> None:
    cell = Cell(fleet, probe)
    cell.until_state("ARMED: /delta_twist_cmds: no subscriber")
    cell.instruct()
    cell.send_chunk()
    twists = probe.listen("delta_twist_cmds", TwistStamped)
    cell.until_state("ARMED: waiting for a chunk")
    probe.until(lambda: len(twists) >= ROWS, "commands")
    assert not any(twist.twist.linear.x for twist in twists)
    cell.send_chunk()
    cell.until_state("RUN")


def test_a_subscriber_with_another_quality_of_service_is_named(fleet: Fleet, probe: Probe) -> None:
    probe.listen("delta_twist_cmds", TwistStamped, qos.LATCHED)
    cell = Cell(fleet, probe)
    cell.until_state("ARMED: /delta_twist_cmds: no subscriber; one asks for a DURABILITY that commands do not have")


def test_a_subscriber_that_leaves_in_mid_chunk_is_a_hold(fleet: Fleet, probe: Probe) -> None:
    twists: list[TwistStamped] = []
    controller = probe.node.create_subscription(TwistStamped, "delta_twist_cmds", twists.append, qos.RELIABLE)
    cell = Cell(fleet, probe)
    cell.until_state("ARMED: waiting for an instruction")
    cell.instruct()
    cell.send_chunk()
    cell.until_state("RUN")
    probe.node.destroy_subscription(controller)
    cell.until_state("HOLD: /delta_twist_cmds: no subscriber")


def test_a_best_effort_subscriber_is_as_good_as_any(fleet: Fleet, probe: Probe) -> None:
    twists = probe.listen("delta_twist_cmds", TwistStamped, qos.BEST_EFFORT)
    Cell(fleet, probe).play()
    assert any(twist.twist.linear.x for twist in twists)


# ---- what is not installed ----


@pytest.mark.parametrize(
    ("robot", "line"),
    [
        (
            {
                "gripper_output": "gripper_command",
                "gripper_action": "/hand/gripper_action",
                "gripper_open_position": 0.04,
                "gripper_max_effort": 10.0,
            },
            "gripper_output: expected control_msgs with the action GripperCommand, "
            "got: No module named 'control_msgs'; install it: sudo apt install ros-$ROS_DISTRO-control-msgs",
        ),
        (
            {"arm_output": "pose", **FRAMES, "pose_source": "tf"},
            "pose_source: expected tf2_ros for tf, got: No module named 'tf2_ros'; "
            "install it: sudo apt install ros-$ROS_DISTRO-tf2-ros-py",
        ),
    ],
    ids=["control_msgs", "tf2_ros"],
)
def test_a_ros_package_that_is_not_installed_is_one_clear_line(fleet: Fleet, robot: dict[str, Any], line: str) -> None:
    fleet.start_node("command_gate", {**GATE, "lockstep": False, **robot})
    assert fleet.wait("command_gate") == 1
    assert f"configure: {line}" in fleet.text("command_gate")
    assert "Traceback" not in fleet.text("command_gate")
