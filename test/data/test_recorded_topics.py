"""Names of recorded topics."""

import pytest

from vla_ros import config
from vla_ros.data.recorded_topics import RecordedTopics
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
