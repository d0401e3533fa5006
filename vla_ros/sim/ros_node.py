"""What every bridge of a simulator has on ROS: it is the camera, the operator and the robot of policy and gate."""

import threading
import time
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from vla_ros.errors import SimulatorError
from vla_ros.node import qos
from vla_ros.node.messages import image_from_pixels
from vla_ros.node.publish import publish
from vla_ros.sim.camera_schedule import Shot

SPIN_S = 0.1
DIAGNOSTICS_S = 1.5
"""The gate publishes its diagnostics once a second; a little longer than that [s]."""

GATE = "command_gate"
STOPPED = ("HOLD", "FAULT")
GONE = ("INACTIVE", "UNCONFIGURED", "FINALIZED")


class SimulatorNode(Node):
    """Publishes image and instruction; collects commands and what the nodes say.

    Args:
        camera: frame_id of the images.
        rate_hz: commands per second [Hz].
        answer_timeout_s: how long an answer is waited for [s, wall clock].
        stop: set when the process is to end.

    Attributes:
        gate_state, policy_state: the nodes' last words, empty before the first.
    """

    COMMANDS = qos.RELIABLE

    def __init__(self, *, camera: str, rate_hz: float, answer_timeout_s: float, stop: threading.Event) -> None:
        super().__init__("sim_bridge")
        self._camera = camera
        self._rate_hz = rate_hz
        self._answer_timeout_s = answer_timeout_s
        self._stop = stop
        self.gate_state = self.policy_state = ""
        self._gate_instruction: str | None = None
        self._policy_instruction: str | None = None
        self._gate_echoes = self._policy_echoes = 0
        self._twist: TwistStamped | None = None
        self._gripper: JointState | None = None
        self._counts: dict[str, int] | None = None
        self._images = self.create_publisher(Image, "image", qos.IMAGE)
        self._instructions = self.create_publisher(String, "instruction", qos.LATCHED)
        self._heard = 0
        self._subscribe(String, f"{GATE}/state", self._on_gate_state, qos.LATCHED)
        self._subscribe(String, "policy_node/state", self._on_policy_state, qos.LATCHED)
        self._subscribe(String, f"{GATE}/instruction", self._on_gate_instruction, qos.LATCHED)
        self._subscribe(String, "policy_node/instruction", self._on_policy_instruction, qos.LATCHED)
        self._subscribe(JointState, "gripper_command", self._on_gripper, self.COMMANDS)
        self._subscribe(TwistStamped, "delta_twist_cmds", self._on_twist, self.COMMANDS)
        self._subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.RELIABLE)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def _subscribe(self, kind: type, topic: str, receive: Callable[[Any], None], profile: Any) -> None:
        """As `create_subscription`, with the messages counted."""

        def heard(message: Any) -> None:
            self._heard += 1
            receive(message)

        self.create_subscription(kind, topic, heard, profile)

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self.destroy_node()

    def wait_until_connected(self, timeout_s: float) -> None:
        """Wait for policy_node and command_gate, active and matched.

        Raises:
            SimulatorError: names who is missing after `timeout_s`.
        """
        if not self._wait(lambda: not self._missing(), timeout_s):
            raise SimulatorError(f"sim_bridge: after {timeout_s:g} s still expected {'; '.join(self._missing())}")

    def gate_counts(self) -> dict[str, int] | None:
        """What the gate has counted since its start, e.g. `clamped` commands; None if it says nothing any more."""
        self._counts = None
        self._wait(lambda: self._counts is not None, DIAGNOSTICS_S)
        return self._counts

    def _show(self, shot: Shot) -> None:
        publish(self, self._images, image_from_pixels(shot.image, shot.stamp_ns, self._camera))

    def _tell(self, text: str) -> None:
        publish(self, self._instructions, String(data=text))

    def _wait(self, is_done: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not is_done():
            if self._stop.is_set():
                raise KeyboardInterrupt
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(SPIN_S, remaining))
        return True

    def _missing(self) -> list[str]:
        publishers = self.count_publishers("delta_twist_cmds")
        problems = {
            "policy_node, active": self._policy_instruction is None,
            "command_gate, active": self._gate_instruction is None or self._is_gone(),
            f"exactly one publisher of delta_twist_cmds (there are {publishers})": publishers != 1,
            "exactly one publisher of gripper_command": self.count_publishers("gripper_command") != 1,
            "a subscriber of image": self._images.get_subscription_count() < 1,
            "two subscribers of instruction": self._instructions.get_subscription_count() < 2,
            "a subscriber of policy_node/action_chunk": self._chunk_subscribers() < 1,
            **self._also_missing(),
        }
        return [problem for problem, is_missing in problems.items() if is_missing]

    def _chunk_subscribers(self) -> int:
        """Besides this node."""
        return self.count_subscribers("policy_node/action_chunk")

    def _also_missing(self) -> dict[str, bool]:
        """What else must be there, and whether it is missing."""
        return {}

    def _is_agreed(self, text: str) -> bool:
        return bool(text) and self._gate_instruction == self._policy_instruction == text

    def _is_gone(self) -> bool:
        return self.gate_state.startswith(GONE)

    def _is_stopped(self) -> bool:
        return self.gate_state.startswith(STOPPED)

    def _states(self) -> str:
        gate, policy = self.gate_state or "unknown", self.policy_state or "unknown"
        return gate if policy == "ACTIVE" else f"{gate} (policy_node: {policy})"

    def _on_gate_state(self, message: String) -> None:
        self.gate_state = message.data

    def _on_policy_state(self, message: String) -> None:
        self.policy_state = message.data

    def _on_gate_instruction(self, message: String) -> None:
        self._gate_instruction = message.data
        self._gate_echoes += 1

    def _on_policy_instruction(self, message: String) -> None:
        self._policy_instruction = message.data
        self._policy_echoes += 1

    def _on_gripper(self, message: JointState) -> None:
        self._gripper = message

    def _on_twist(self, message: TwistStamped) -> None:
        self._twist = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(GATE):
                self._counts = {item.key: int(item.value) for item in status.values if item.value.isdecimal()}
