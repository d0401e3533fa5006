"""What policy_node and command_gate have in common: strict parameters that are fixed once a node is configured."""

import dataclasses
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import String

from vla_ros.errors import VlaRosError
from vla_ros.node import parameters, qos
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.policy_parameters import PolicyParameters
from vla_ros.node.publish import publish
from vla_ros.node.trace import Trace

P = TypeVar("P", PolicyParameters, GateParameters)


class ManagedLifecycleNode(LifecycleNode, Generic[P]):
    """A lifecycle node with parameters and a latched one-line state on `~/state`.

    Attributes:
        values: the parameters in force.
        trace: marks of what passed when; written when the process ends.
    """

    def __init__(self, name: str, schema: type[P]) -> None:
        # the overrides are declared by rclpy so that `declare` can see, and refuse, those that no one knows
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self.values: P = parameters.declare(self, schema)
        self.trace = Trace(self.values.trace)
        self._schema: type[P] = schema
        self._is_configured = False
        self._state_text = ""
        self._state_publisher = self.create_publisher(String, "~/state", qos.LATCHED)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.show_state("UNCONFIGURED")

    @property
    def autostart(self) -> bool:
        """Whether the process configures and activates the node by itself."""
        return self.values.autostart

    def show_state(self, text: str) -> None:
        """Publish the state if it changed."""
        if text == self._state_text:
            return
        if publish(self, self._state_publisher, String(data=text)):
            self._state_text = text
        self.get_logger().info(f"state: {text}")

    def configure(self) -> None:
        """Make everything ready; VlaRosError leaves the node unconfigured with that one line."""
        raise NotImplementedError

    def cleanup(self) -> None:
        """Undo `configure`."""
        raise NotImplementedError

    def end(self) -> None:
        """Bring the robot to a stop and end threads; called once, before the node is destroyed."""
        raise NotImplementedError

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self.configure()
        except VlaRosError as error:
            self.get_logger().error(f"configure: {error}")
            return TransitionCallbackReturn.FAILURE
        self._is_configured = True
        self.show_state("INACTIVE")
        return super().on_configure(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.cleanup()
        self._is_configured = False
        self.show_state("UNCONFIGURED")
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._is_configured:
            self.cleanup()
        self._is_configured = False
        self.show_state("FINALIZED")
        return super().on_shutdown(state)

    def _on_set_parameters(self, changes: list["Parameter[Any]"]) -> SetParametersResult:
        known = {item.name for item in dataclasses.fields(self._schema)}
        own = {change.name: change.value for change in changes if change.name in known}
        if not own:
            return SetParametersResult(successful=True)
        if self._is_configured:
            reason = f"{', '.join(own)}: fixed while configured; `ros2 lifecycle set {self.get_name()} cleanup` first"
            return SetParametersResult(successful=False, reason=reason)
        try:
            self.values = dataclasses.replace(self.values, **own)
        except (ValueError, TypeError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)
