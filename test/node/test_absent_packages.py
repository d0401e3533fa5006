"""Outputs and sources that need ROS packages which PyPI has not, against stand-ins for those packages."""

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState

from test.node.fleet import GATE
from vla_ros.action import Command
from vla_ros.errors import ConfigError
from vla_ros.node import gripper_action
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.gripper_action import GripperCommandOutput, ParallelGripperCommandOutput, action_type
from vla_ros.node.messages import stamp_from_ns
from vla_ros.node.pose_source import PoseTransform

HAND = {
    "gripper_action": "/hand/gripper_cmd",
    "gripper_open_position": 0.039,
    "gripper_closed_position": 0.003,
    "gripper_max_effort": 20.0,
}
AT_TF = {
    "arm_output": "pose",
    "pose_source": "tf",
    "base_frame_id": "base",
    "end_effector_frame_id": "tool",
}


def values(**changes: Any) -> GateParameters:
    return GateParameters(**{**GATE, "lockstep": False, **changes})


@pytest.fixture
def node(ros_domain: int) -> Iterator[LifecycleNode]:
    rclpy.init()
    node = LifecycleNode("node")
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


# ---- control_msgs ----


class Client:
    """Stands in for rclpy's ActionClient, which needs the action's compiled type."""

    def __init__(self, node: LifecycleNode, action: Any, name: str) -> None:
        self.action, self.name = action, name
        self.goals: list[Any] = []
        self.is_destroyed = False

    def server_is_ready(self) -> bool:
        return True

    def send_goal_async(self, goal: Any) -> Any:
        self.goals.append(goal)
        return SimpleNamespace(done=lambda: False)

    def destroy(self) -> None:
        self.is_destroyed = True


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    """With a control_msgs, of whose two actions the goals have the fields of ros-controls/control_msgs."""
    made: list[Client] = []

    class GripperCommand:
        Goal = staticmethod(lambda: SimpleNamespace(command=SimpleNamespace(position=0.0, max_effort=0.0)))

    class ParallelGripperCommand:
        Goal = staticmethod(lambda: SimpleNamespace(command=JointState()))

    package, actions = ModuleType("control_msgs"), ModuleType("control_msgs.action")
    actions.GripperCommand = GripperCommand  # type: ignore[attr-defined]
    actions.ParallelGripperCommand = ParallelGripperCommand  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "control_msgs", package)
    monkeypatch.setitem(sys.modules, "control_msgs.action", actions)

    def make(*arguments: Any) -> Client:
        made.append(Client(*arguments))
        return made[-1]

    monkeypatch.setattr(gripper_action, "ActionClient", make)
    return made


def test_gripper_command_goals_have_position_and_effort(node: LifecycleNode, clients: list[Client]) -> None:
    output = GripperCommandOutput(node, values(gripper_output="gripper_command", **HAND))
    for stamp_ns, opening in enumerate((None, 0.0, 0.0)):
        output.send(stamp_ns, Command.stop(opening))
    (client,) = clients
    assert (client.action.__name__, client.name) == ("GripperCommand", "/hand/gripper_cmd")
    assert [vars(goal.command) for goal in client.goals] == [{"position": 0.003, "max_effort": 20.0}]
    assert output.topics == ()
    assert output.problem == ""
    output.destroy()
    assert client.is_destroyed


def test_parallel_gripper_command_goals_name_the_joint(node: LifecycleNode, clients: list[Client]) -> None:
    robot = values(gripper_output="parallel_gripper_command", gripper_joint="left_knuckle", **HAND)
    output = ParallelGripperCommandOutput(node, robot)
    output.send(0, Command.stop(0.5))
    (command,) = [goal.command for goal in clients[0].goals]
    assert list(command.name) == ["left_knuckle"]
    assert list(command.position) == [pytest.approx(0.021)]
    assert list(command.effort) == [20.0]


def test_after_an_activation_the_gripper_is_told_again(node: LifecycleNode, clients: list[Client]) -> None:
    output = GripperCommandOutput(node, values(gripper_output="gripper_command", **HAND))
    output.send(0, Command.stop(1.0))
    output.start()
    output.send(1, Command.stop(1.0))
    assert len(clients[0].goals) == 2


def test_a_control_msgs_without_the_action_is_too_old(clients: list[Client], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["control_msgs.action"], "ParallelGripperCommand")
    with pytest.raises(ConfigError, match="expected control_msgs with the action ParallelGripperCommand, got: module"):
        action_type("ParallelGripperCommand")


# ---- tf2_ros ----


class Tree:
    """The transforms that a stand-in for tf2_ros knows."""

    def __init__(self) -> None:
        self.stamp_ns = 0
        self.parent = "base"
        self.asked: list[tuple[str, str]] = []
        self.is_left = False


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Tree:
    """With a tf2_ros that has what PoseTransform uses of the real one."""
    tree, tf2_ros = Tree(), ModuleType("tf2_ros")

    class TransformException(Exception):  # noqa: N818 (its name in tf2_ros)
        pass

    class Buffer:
        def lookup_transform(self, target: str, source: str, time: Any) -> TransformStamped:
            tree.asked.append((target, source))
            if not tree.stamp_ns:
                raise TransformException('"tool" passed to lookupTransform argument source_frame does not exist.')
            transform = TransformStamped(child_frame_id=source)
            transform.header.stamp, transform.header.frame_id = stamp_from_ns(tree.stamp_ns), tree.parent
            transform.transform.translation.y = 0.25
            return transform

    class TransformListener:
        def __init__(self, buffer: Buffer, node: LifecycleNode) -> None:
            pass

        def unregister(self) -> None:
            tree.is_left = True

    tf2_ros.Buffer, tf2_ros.TransformListener = Buffer, TransformListener  # type: ignore[attr-defined]
    tf2_ros.TransformException = TransformException  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tf2_ros", tf2_ros)
    return tree


def test_a_transform_is_a_pose_once(node: LifecycleNode, tree: Tree) -> None:
    source = PoseTransform(node, values(**AT_TF))
    tree.stamp_ns = node.get_clock().now().nanoseconds
    pose = source.take()
    assert pose is not None
    assert pose.position_m.tolist() == [0.0, 0.25, 0.0]
    assert pose.quaternion_xyzw.tolist() == [0.0, 0.0, 0.0, 1.0]
    assert tree.asked == [("base", "tool")]
    assert source.take() is None
    assert not source.refused
    tree.stamp_ns = node.get_clock().now().nanoseconds
    assert source.take() is not None
    source.destroy()
    assert tree.is_left


def test_no_transform_and_an_old_one_are_no_pose_and_counted(node: LifecycleNode, tree: Tree) -> None:
    source = PoseTransform(node, values(**AT_TF))
    assert source.take() is None
    tree.stamp_ns = node.get_clock().now().nanoseconds - 1_000_000_000
    assert source.take() is None
    assert source.refused == {"no transform": 1, "header.stamp": 1}
