"""Definitions that make a recording readable without ROS."""

import pytest
from geometry_msgs.msg import TwistStamped
from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory
from rclpy.serialization import serialize_message

from vla_ros.data.recorded_topics import ROLES
from vla_ros.errors import ConfigError
from vla_ros.node.message_definition import definition_of, message_class


@pytest.mark.parametrize("kind", [kind for kinds in ROLES.values() for kind in kinds])
def test_what_ros_serialized_is_decoded_by_the_definition_alone(kind: str) -> None:
    message = message_class(kind)()
    if hasattr(message, "header"):
        message.header.frame_id, message.header.stamp.sec = "base", 7
    schema = Schema(id=1, name=kind, encoding="ros2msg", data=definition_of(kind).encode())
    decode = DecoderFactory().decoder_for("cdr", schema)
    assert decode is not None
    decoded = decode(serialize_message(message))
    assert set(decoded.__slots__) == set(message.get_fields_and_field_types())
    if hasattr(message, "header"):
        assert (decoded.header.frame_id, decoded.header.stamp.sec) == ("base", 7)


def test_a_definition_is_joined_as_rosbag2_does_with_every_type_once() -> None:
    text = definition_of("geometry_msgs/msg/TwistStamped")
    parts = text.split("=" * 80 + "\n")
    assert [part.split("\n")[0] for part in parts[1:]] == [
        "MSG: std_msgs/Header",
        "MSG: geometry_msgs/Twist",
        "MSG: builtin_interfaces/Time",
        "MSG: geometry_msgs/Vector3",
    ]
    assert message_class("geometry_msgs/msg/TwistStamped") is TwistStamped


def test_a_type_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"my_msgs/msg/Thing: expected an installed message type, got: No module"):
        message_class("my_msgs/msg/Thing")
    with pytest.raises(ConfigError, match=r"std_msgs/msg/Thing: expected an installed message type"):
        message_class("std_msgs/msg/Thing")
