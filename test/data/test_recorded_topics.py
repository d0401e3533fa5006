"""Names of recorded topics."""

import pytest

from vla_ros import config
from vla_ros.data.recorded_topics import RecordedTopics, RunTopics
from vla_ros.errors import ConfigError


def test_names_without_a_slash_are_in_the_root_namespace() -> None:
    topics = RecordedTopics(image="camera/image", commands=None, pose="/ee_pose")
    assert topics.by_name() == {
        "/camera/image": "image",
        "/instruction": "instruction",
        "/ee_pose": "pose",
        "/gripper_command": "gripper",
    }
    assert topics.name("image") == "/camera/image"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"commands": None}, "topics.yaml: commands: expected a topic where `pose` has none"),
        ({"image": "my image"}, "topics.yaml: topics: expected a topic name, got '/my image'"),
        ({"gripper": ""}, "topics.yaml: topics: expected a topic name, got '/'"),
        ({"gripper": "/image"}, "topics.yaml: topics: expected another topic for each of image, instruction, commands"),
    ],
)
def test_impossible_names_are_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        config.build(fields, RecordedTopics, "topics.yaml")


def test_topics_of_other_names_are_found_by_their_type_where_there_is_only_one() -> None:
    types = {
        "/left/image": "sensor_msgs/msg/Image",
        "/right/image": "sensor_msgs/msg/CompressedImage",
        "/joint_states": "sensor_msgs/msg/JointState",
        "/delta_twist_cmds": "geometry_msgs/msg/TwistStamped",
        "/other_twist": "geometry_msgs/msg/TwistStamped",
    }
    assert RecordedTopics.found_in(types) == RecordedTopics(gripper="/joint_states")


def test_in_a_run_a_topic_that_several_roles_could_have_goes_to_the_first() -> None:
    types = {
        "/task": "std_msgs/msg/String",
        "/target_pose": "geometry_msgs/msg/PoseStamped",
        "/arm/action_chunk": "trajectory_msgs/msg/JointTrajectory",
        "/gripper_trajectory": "trajectory_msgs/msg/JointTrajectory",
    }
    assert RunTopics.found_in(types) == RunTopics(instruction="/task", chunks="/arm/action_chunk")


def test_a_run_has_one_output_to_the_arm_and_perhaps_a_gripper_and_a_stop() -> None:
    topics = RunTopics()
    needed = {role for role in topics.by_name().values() if topics.is_needed(role, ())}
    states = {"policy_instruction", "policy_state", "gate_state", "diagnostics"}
    assert needed == {"image", "instruction", "chunks", "commands", *states}
    assert not topics.is_needed("commands", {"target_pose"})
    assert RunTopics(commands=None).is_needed("target_pose", {"image"})
    demonstration = RecordedTopics(pose="/ee_pose")
    assert all(
        demonstration.is_needed(role, {"commands", "pose"} - {role}) for role in demonstration.by_name().values()
    )


def test_a_run_may_have_no_velocities_without_any_measured_pose() -> None:
    assert "/delta_twist_cmds" not in RunTopics(commands=None).by_name()
    with pytest.raises(
        ConfigError, match="commands: expected a topic where `target_pose`, `velocity_commands`, `pose`"
    ):
        config.build({"commands": None, "target_pose": None, "velocity_commands": None}, RunTopics, "topics.yaml")
