"""What the gripper's controller is told; a robot's YAML chooses one of these."""

from abc import ABC, abstractmethod

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import Command
from vla_ros.node.command_topic import CommandTopic
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.messages import joint_state_from_command, trajectory_from_position

LEAST_CHANGE = 0.01
"""A smaller change of the opening is not worth a new motion of the gripper."""


class GripperOutput(ABC):
    """Carries the gripper's part of every command to its controller; before the first opening it says nothing."""

    def __init__(self, node: LifecycleNode, values: GateParameters) -> None:
        self._node = node
        self._values = values

    @abstractmethod
    def send(self, stamp_ns: int, command: Command) -> None:
        """Pass the command of one tick on."""

    @property
    def topics(self) -> tuple[CommandTopic, ...]:
        """Topics of which the gate must be the only publisher."""
        return ()

    @property
    def problem(self) -> str:
        """Why the arm must wait for the gripper; empty if it need not."""
        return ""

    def start(self) -> None:  # noqa: B027 (most have nothing to forget)
        """Forget what the gripper was told: at the node's activation."""

    def destroy(self) -> None:
        """Leave the ROS graph."""
        for topic in self.topics:
            topic.destroy()


class NoGripper(GripperOutput):
    """For a robot that has none, or one that somebody else moves."""

    def send(self, stamp_ns: int, command: Command) -> None:
        pass


class JointStateOutput(GripperOutput):
    """The opening, 0 to 1, of a joint `gripper`, every tick: for simulators, and for a driver of your own."""

    def __init__(self, node: LifecycleNode, values: GateParameters) -> None:
        super().__init__(node, values)
        self._topic = CommandTopic(node, JointState, "gripper_command")

    @property
    def topics(self) -> tuple[CommandTopic, ...]:
        return (self._topic,)

    def send(self, stamp_ns: int, command: Command) -> None:
        # a driver may not know what to do with an empty message; the simulator's bridge waits for one
        if command.gripper is not None or self._values.lockstep:
            self._topic.publish(joint_state_from_command(command, stamp_ns))


class JointTrajectoryOutput(GripperOutput):
    """One point for a JointTrajectoryController, on change: each message would start the motion anew."""

    def __init__(self, node: LifecycleNode, values: GateParameters) -> None:
        super().__init__(node, values)
        self._topic = CommandTopic(node, JointTrajectory, "gripper_trajectory")
        self.start()

    def start(self) -> None:
        self._sent: float | None = None
        self._receivers = 0
        self._is_joined = False

    @property
    def topics(self) -> tuple[CommandTopic, ...]:
        return (self._topic,)

    @property
    def problem(self) -> str:
        return self._topic.problem

    def send(self, stamp_ns: int, command: Command) -> None:
        receivers = self._topic.receivers
        # somebody new, who knows of nothing yet; one beside others may only listen, and then moves no gripper at rest
        self._is_joined = self._is_joined or receivers > self._receivers
        if self._is_joined and (not self._receivers or not command.is_stop):
            self._sent, self._is_joined = None, False
        self._receivers = receivers
        opening = command.gripper
        if opening is None or not receivers or not differs(opening, self._sent):
            return
        position = position_of(opening, self._values)
        message = trajectory_from_position(self._values.gripper_joint, position, self._values.gripper_time_s)
        if self._topic.publish(message):
            self._sent = opening


def differs(opening: float, sent: float | None) -> bool:
    """Whether an opening is another one than what was last sent."""
    return sent is None or abs(opening - sent) >= LEAST_CHANGE


def position_of(opening: float, values: GateParameters) -> float:
    """The joint's position at an opening from 0, closed, to 1 [m or rad, as the joint's]."""
    closed, opened = values.gripper_closed_position, values.gripper_open_position
    return closed + opening * (opened - closed)
