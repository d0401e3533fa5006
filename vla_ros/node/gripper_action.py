"""A gripper behind an action of control_msgs, which a ROS installation has and PyPI has not."""

import importlib
from typing import Any

from rclpy.action import ActionClient  # type: ignore[attr-defined]
from rclpy.lifecycle import LifecycleNode

from vla_ros.action import Command
from vla_ros.errors import ConfigError
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.gripper_goals import GripperGoals
from vla_ros.node.gripper_output import GripperOutput, position_of


class GripperActionOutput(GripperOutput):
    """A goal of control_msgs on change."""

    ACTION: str

    def __init__(self, node: LifecycleNode, values: GateParameters) -> None:
        """Make the client.

        Raises:
            ConfigError: control_msgs is not installed, or too old.
        """
        super().__init__(node, values)
        self._action = action_type(self.ACTION)
        self._client: Any = ActionClient(node, self._action, values.gripper_action)
        self._goals = GripperGoals(self._client, self.goal, self._warn)

    def goal(self, opening: float) -> Any:
        """The action's goal for an opening from 0 to 1."""
        raise NotImplementedError

    def start(self) -> None:
        self._goals.forget()

    @property
    def problem(self) -> str:
        problem = self._goals.problem
        return f"action {self._values.gripper_action}: {problem}" if problem else ""

    def send(self, stamp_ns: int, command: Command) -> None:
        if command.gripper is not None:
            self._goals.pursue(command.gripper)

    def destroy(self) -> None:
        self._client.destroy()

    def _warn(self, text: str) -> None:
        self._node.get_logger().warning(f"action {self._values.gripper_action}: {text}")


class GripperCommandOutput(GripperActionOutput):
    """GripperCommand: franka_gripper, and gripper_action_controller up to Humble."""

    ACTION = "GripperCommand"

    def goal(self, opening: float) -> Any:
        goal = self._action.Goal()
        goal.command.position = position_of(opening, self._values)
        goal.command.max_effort = self._values.gripper_max_effort
        return goal


class ParallelGripperCommandOutput(GripperActionOutput):
    """ParallelGripperCommand: parallel_gripper_action_controller, from Jazzy on."""

    ACTION = "ParallelGripperCommand"

    def goal(self, opening: float) -> Any:
        goal = self._action.Goal()
        goal.command.name = [self._values.gripper_joint]
        goal.command.position = [position_of(opening, self._values)]
        goal.command.effort = [self._values.gripper_max_effort]
        return goal


def action_type(name: str) -> Any:
    """An action of control_msgs.

    Raises:
        ConfigError: control_msgs is not installed, or too old to have it.
    """
    try:
        return getattr(importlib.import_module("control_msgs.action"), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"gripper_output: expected control_msgs with the action {name}, got: {error}; "
            "install it: sudo apt install ros-$ROS_DISTRO-control-msgs"
        ) from error
