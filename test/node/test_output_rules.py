"""What the outputs of a robot's YAML need of each other, and the files that ship."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from test.node.fleet import GATE, ROOT
from vla_ros.errors import ConfigError
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.parameters import read_parameter_file

WALL = {"workspace_min_m": [-1.0, -1.0, 0.0], "workspace_max_m": [1.0, 1.0, 1.0]}
FRAMES = {"base_frame_id": "base", "end_effector_frame_id": "tool"}
START = {"pose_source": "start", "start_pose": [0.4, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0]}
TARGETS = {"arm_output": "pose", **FRAMES, **START}
FINGER = {"gripper_joint": "finger", "gripper_open_position": 0.04}
TRAJECTORY = {"gripper_output": "joint_trajectory", **FINGER}
ACTION = {
    "gripper_output": "gripper_command",
    "gripper_action": "/hand/gripper_cmd",
    "gripper_max_effort": 10.0,
    "gripper_closed_position": 0.8,
}
PARALLEL = {**ACTION, "gripper_output": "parallel_gripper_command", "gripper_joint": "finger"}


def read(tmp_path: Path, **changes: Any) -> GateParameters:
    path = tmp_path / "robot.yaml"
    parameters = {**GATE, "lockstep": False, **changes}
    path.write_text(yaml.safe_dump({"/**/command_gate": {"ros__parameters": parameters}}))
    return read_parameter_file(path, "command_gate", GateParameters)


@pytest.mark.parametrize("robot", [{}, TARGETS, {**WALL, **FRAMES, **START}, TRAJECTORY, ACTION, PARALLEL], ids=str)
def test_a_complete_robot_is_accepted(tmp_path: Path, robot: dict[str, Any]) -> None:
    values = read(tmp_path, **robot)
    assert values.gate_config.action_space.frame_id == "base"


@pytest.mark.parametrize(
    ("robot", "line"),
    [
        ({**GATE, **TARGETS}, "arm_output: expected twist in lockstep, as the simulator's bridge, got pose"),
        ({**GATE, **TRAJECTORY}, "gripper_output: expected joint_state in lockstep"),
        ({"arm_output": "pose"}, "pose_source: expected start, topic or tf for arm_output: pose, got none"),
        (WALL, "pose_source: expected start, topic or tf for a workspace, got none"),
        ({**FRAMES, **START}, "pose_source: expected none without a workspace and arm_output: pose, got start"),
        ({**TARGETS, "base_frame_id": ""}, "base_frame_id: expected a frame name for pose_source: start"),
        ({**TARGETS, "end_effector_frame_id": ""}, "end_effector_frame_id: expected a frame name for pose_source"),
        ({**TARGETS, "end_effector_frame_id": "base"}, "end_effector_frame_id: expected another frame than"),
        ({**TARGETS, "frame_id": "camera"}, "frame_id: expected 'base', the base_frame_id, or 'tool', the end_eff"),
        (
            {**TARGETS, "frame_id": "tool", "rotation": "euler_xyz"},
            "rotation: expected axis_angle for deltas in 'tool'",
        ),
        ({**TARGETS, "start_pose": [0.0] * 7}, "start_pose: expected x y z [m] and a quaternion x y z w for pose_so"),
        ({**TARGETS, "start_pose": [0.4] * 7}, "start_pose: pose: quaternion_xyzw: expected a length of 1, got 0.800"),
        ({**TARGETS, "start_pose": [0.4] * 3}, "start_pose: expected tuple[float, float, float, float, float, float"),
        ({**TARGETS, "pose_source": "topic"}, "start_pose: expected none for pose_source: topic, got (0.4, 0.0"),
        ({**TRAJECTORY, "gripper_joint": ""}, "gripper_joint: expected the controller's joint for gripper_output: j"),
        ({**TRAJECTORY, "gripper_open_position": 0.0}, "gripper_open_position: expected another position than grip"),
        ({**TRAJECTORY, "gripper_action": "/a"}, "gripper_action: expected none for gripper_output: joint_trajectory"),
        ({**ACTION, "gripper_action": ""}, "gripper_action: expected the action's full name for gripper_output: gri"),
        ({**ACTION, "gripper_max_effort": 0.0}, "gripper_max_effort: expected more than 0 for gripper_output: gripp"),
        ({**ACTION, "gripper_joint": "finger"}, "gripper_joint: expected none for gripper_output: gripper_command"),
        ({**PARALLEL, "gripper_joint": ""}, "gripper_joint: expected the controller's joint for gripper_output: para"),
        ({"gripper_joint": "finger"}, "gripper_joint: expected none for gripper_output: joint_state, got 'finger'"),
        ({"gripper_output": "none", "gripper_open_position": 1.0}, "gripper_open_position: expected none for grippe"),
        ({"arm_output": "joints"}, "arm_output: expected one of twist, pose, velocity_array, got str 'joints'"),
    ],
)
def test_what_does_not_fit_together_is_one_line(tmp_path: Path, robot: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, **robot)
    assert f"{tmp_path}/robot.yaml: /**/command_gate.ros__parameters.{line}" in str(error.value)
    assert "\n" not in str(error.value)


def test_deltas_of_the_end_effectors_frame_are_along_its_axes(tmp_path: Path) -> None:
    in_tool, in_base = read(tmp_path, **{**TARGETS, "frame_id": "tool"}), read(tmp_path, **TARGETS)
    assert in_tool.pose_rules is not None
    assert in_base.pose_rules is not None
    assert (in_tool.pose_rules.is_in_tool_frame, in_base.pose_rules.is_in_tool_frame) == (True, False)


def test_a_given_pose_has_no_age_and_a_measured_one_has(tmp_path: Path) -> None:
    given = read(tmp_path, **TARGETS)
    measured = read(tmp_path, **{**TARGETS, "pose_source": "topic", "start_pose": [0.0] * 7, "pose_timeout_s": 0.5})
    assert given.pose_rules is not None
    assert measured.pose_rules is not None
    assert (given.pose_rules.timeout_ns, measured.pose_rules.timeout_ns) == (None, 500_000_000)


ROBOTS = sorted((ROOT / "config/robot").glob("*.yaml"))
SERVO_TIMEOUT_S = 0.1
"""MoveIt Servo's incoming_command_timeout: it stops if the last command is older (its servo_parameters.yaml)."""


@pytest.mark.parametrize("path", ROBOTS, ids=lambda path: path.stem)
def test_the_shipped_robots_are_valid(path: Path) -> None:
    values = read_parameter_file(path, "command_gate", GateParameters)
    assert values.gate_config.action_space.frame_id == values.frame_id


@pytest.mark.parametrize("name", ["franka_servo", "ur_servo", "widowx"])
def test_the_shipped_real_robots_are_slow_walled_and_fed_in_time(name: str) -> None:
    values = read_parameter_file(ROOT / f"config/robot/{name}.yaml", "command_gate", GateParameters)
    assert not values.lockstep
    assert values.max_linear_speed_m_s <= 0.25  # ISO 10218-1's reduced speed
    assert values.workspace is not None
    assert values.pose_source in ("topic", "tf")
    assert 2 / values.command_rate_hz < SERVO_TIMEOUT_S
    # a row at full speed is no long step, and a much longer one is
    row_m = values.max_linear_speed_m_s / values.control_rate_hz
    assert row_m <= values.max_step_m <= 3 * row_m
    row_rad = values.max_angular_speed_rad_s / values.control_rate_hz
    assert row_rad <= values.max_step_rad <= 3 * row_rad
