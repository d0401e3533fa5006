"""How a node's process ends when its own code has a mistake, and which executor it has."""

import builtins
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, String

from test.node.fleet import GATE, POLICY, Fleet, Probe
from test.node.stub_policy import make_contract
from vla_ros.node import process, qos
from vla_ros.node.messages import image_from_pixels


def check_end(fleet: Fleet, name: str) -> None:
    """Python's own end, with its words, and not a signal's."""
    assert fleet.wait(name) == 1
    assert "ZeroDivisionError: the mistake" in fleet.text(name)
    assert "Fatal" not in fleet.text(name)


def test_a_gate_with_a_mistake_stops_the_robot_and_says_what_it_was(fleet: Fleet, probe: Probe) -> None:
    states = probe.states("command_gate/state")
    twists = probe.listen("delta_twist_cmds", TwistStamped)
    fleet.start_node("command_gate", {**GATE, "lockstep": False}, program="test.node.broken_gate")
    probe.until(lambda: states() and twists, "commands")
    stops = probe.node.create_publisher(Bool, "emergency_stop", qos.LATCHED)
    stops.publish(Bool(data=True))
    probe.until(lambda: states()[-1] == "INACTIVE: shut down", "its end")
    check_end(fleet, "command_gate")
    assert all(twist.twist.linear.x == 0 for twist in twists)


def test_a_policy_node_with_a_mistake_says_what_it_was(fleet: Fleet, probe: Probe) -> None:
    camera = make_contract().camera
    pixels = np.full((camera.height, camera.width, 3), 9, np.uint8)
    images = probe.node.create_publisher(Image, "image", qos.IMAGE)
    instructions = probe.node.create_publisher(String, "instruction", qos.LATCHED)
    states = probe.states("policy_node/state")
    fleet.start_node("policy_node", {**POLICY, "lockstep": False}, program="test.node.broken_policy_node")
    instructions.publish(String(data="go"))

    def show() -> bool:
        images.publish(image_from_pixels(pixels, probe.node.get_clock().now().nanoseconds, "camera"))
        return bool(states()) and states()[-1] == "FINALIZED"

    probe.until(show, "its end")
    check_end(fleet, "policy_node")


def test_a_ros_without_an_events_executor_has_the_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("rclpy.experimental"):
            raise ModuleNotFoundError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(process, "SingleThreadedExecutor", lambda: "the other one")
    assert process.make_executor() == "the other one"
