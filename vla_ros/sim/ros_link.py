"""The ROS side of a simulator: it is the camera, the clock and the robot, and it waits for every answer."""

import threading
import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import TwistStamped
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from vla_ros.errors import SimulatorError
from vla_ros.node import qos
from vla_ros.node.messages import command_from_messages, image_from_pixels, ns_from_stamp, stamp_from_ns
from vla_ros.node.publish import publish
from vla_ros.sim.lockstep import Reply

RESEND_S = 1.0
SPIN_S = 0.1
GRACE_S = 0.2
"""How long a state that was published before a command may arrive after it [s]."""

STOPPED = ("HOLD", "FAULT")
GONE = ("INACTIVE", "UNCONFIGURED", "FINALIZED")


class RosLink(Node):
    """Publishes image, instruction and /clock; collects the command of each tick and the nodes' states.

    Args:
        camera: frame_id of the images.
        rate_hz: control rate [Hz].
        answer_timeout_s: how long an answer is waited for [s, wall clock].
        stop: set when the process is to end.

    Attributes:
        gate_state, policy_state: the nodes' last words, empty before the first.
    """

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
        self._images = self.create_publisher(Image, "image", qos.IMAGE)
        self._instructions = self.create_publisher(String, "instruction", qos.LATCHED)
        self._clocks = self.create_publisher(Clock, "/clock", qos.RELIABLE)
        self.create_subscription(String, "command_gate/state", self._on_gate_state, qos.LATCHED)
        self.create_subscription(String, "policy_node/state", self._on_policy_state, qos.LATCHED)
        self.create_subscription(String, "command_gate/instruction", self._on_gate_instruction, qos.LATCHED)
        self.create_subscription(String, "policy_node/instruction", self._on_policy_instruction, qos.LATCHED)
        self.create_subscription(JointState, "gripper_command", self._on_gripper, qos.RELIABLE)
        self.create_subscription(TwistStamped, "delta_twist_cmds", self._on_twist, qos.RELIABLE)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

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

    def instruct(self, text: str) -> str:
        """Make this the instruction; returns once policy and gate have taken it: '', or why they did not."""
        if self._is_agreed(text):
            return ""
        gate, policy = self._gate_echoes, self._policy_echoes
        deadline = time.monotonic() + self._answer_timeout_s

        def is_answered() -> bool:
            # the gate's word follows the policy's: until then it says that they do not agree
            has_heard = self._gate_echoes > gate and self._policy_echoes > policy
            return has_heard and (self._is_agreed(text) or self._policy_instruction != text or not text)

        while not is_answered():
            if time.monotonic() > deadline:
                return f"no answer to the instruction for {self._answer_timeout_s:g} s: {self._states()}"
            publish(self, self._instructions, String(data=text))
            self._wait(is_answered, RESEND_S)
        if self._is_agreed(text):
            return ""
        self._wait(lambda: self.policy_state.startswith(STOPPED), GRACE_S)
        return f"the instruction {text!r} was refused: {self._states()}"

    def ask(self, stamp_ns: int, image: NDArray[np.uint8] | None) -> Reply:
        """Show an image, let the time be `stamp_ns` and wait for the one command of this control period."""
        picture = None if image is None else image_from_pixels(image, stamp_ns, self._camera)
        clock = Clock(clock=stamp_from_ns(stamp_ns))
        start = time.monotonic()
        deadline = start + self._answer_timeout_s
        while time.monotonic() < deadline and not self._is_gone():
            if picture is not None:
                publish(self, self._images, picture)
            publish(self, self._clocks, clock)
            patience_s = min(RESEND_S, deadline - time.monotonic())
            self._wait(lambda: self._has_answer(stamp_ns) or self._is_gone(), patience_s)
            if self._has_answer(stamp_ns):
                return self._reply((time.monotonic() - start) * 1e3)
        reaction_ms = (time.monotonic() - start) * 1e3
        problem = f"no command for {reaction_ms / 1e3:.1f} s: {self._states()}"
        return Reply(command=None, gate_state=self.gate_state, problem=problem, reaction_ms=reaction_ms)

    def _reply(self, reaction_ms: float) -> Reply:
        assert self._twist is not None
        assert self._gripper is not None
        command = command_from_messages(self._twist, self._gripper, self._rate_hz)
        problem = ""
        if command.is_stop and self._is_stopped():
            # the state may be that of the last episode, with the news of this one still on its way
            self._wait(lambda: not self._is_stopped(), GRACE_S)
            problem = self._states() if self._is_stopped() else ""
        state = self.gate_state if problem or not self._is_stopped() else "RUN"
        return Reply(command=command, gate_state=state, problem=problem, reaction_ms=reaction_ms)

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
            "a subscriber of /clock: command_gate with lockstep: true": self._clocks.get_subscription_count() < 1,
            "a subscriber of policy_node/action_chunk": self.count_subscribers("policy_node/action_chunk") < 1,
        }
        return [problem for problem, is_missing in problems.items() if is_missing]

    def _is_agreed(self, text: str) -> bool:
        return bool(text) and self._gate_instruction == self._policy_instruction == text

    def _is_gone(self) -> bool:
        return self.gate_state.startswith(GONE)

    def _is_stopped(self) -> bool:
        return self.gate_state.startswith(STOPPED)

    def _states(self) -> str:
        gate, policy = self.gate_state or "unknown", self.policy_state or "unknown"
        return gate if policy == "ACTIVE" else f"{gate} (policy_node: {policy})"

    def _has_answer(self, stamp_ns: int) -> bool:
        return all(
            message is not None and ns_from_stamp(message.header.stamp) == stamp_ns
            for message in (self._twist, self._gripper)
        )

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
