"""The ROS side of a simulator in real time: a camera and an arm that nobody waits for."""

import threading
import time
from dataclasses import replace

from geometry_msgs.msg import TwistStamped
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import Command
from vla_ros.node import qos
from vla_ros.node.messages import command_from_messages, ns_from_stamp
from vla_ros.sim.camera_schedule import Shot
from vla_ros.sim.episode import Outcome
from vla_ros.sim.ros_node import SPIN_S, SimulatorNode

LOST_NS = 500_000_000
"""An image that was not answered for so long never reached the policy, or was refused [ns]."""


class RealTimeRosLink(SimulatorNode):
    """Publishes images with the wall clock's stamps and collects the gate's commands as they come."""

    # while the simulator works nobody takes messages in, and no command may be lost
    COMMANDS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1000, reliability=ReliabilityPolicy.RELIABLE)

    def __init__(self, *, camera: str, rate_hz: float, answer_timeout_s: float, stop: threading.Event) -> None:
        super().__init__(camera=camera, rate_hz=rate_hz, answer_timeout_s=answer_timeout_s, stop=stop)
        self._commands: list[tuple[int, Command]] = []
        self._reactions_ms: list[float] = []
        self._shown_ns = self._answered_ns = 0
        self._reacting: tuple[int, int] | None = None  # stamp of an image, arrival of its chunk [ns]
        self._agreed_s = self._commanded_s = time.monotonic()
        self._subscribe(JointTrajectory, "policy_node/action_chunk", self._on_chunk, qos.RELIABLE)

    def tell(self, text: str) -> None:
        """Make this the instruction."""
        self._tell(text)
        self._agreed_s = self._commanded_s = time.monotonic()
        self._shown_ns = self._answered_ns = 0

    def show(self, shot: Shot) -> None:
        """Publish an image."""
        self._shown_ns = shot.stamp_ns
        self._show(shot)

    def listen(self, until_ns: int) -> None:
        """Take in messages until then, at least what is there already [ns, wall clock]."""
        while True:
            if self._stop.is_set():
                raise KeyboardInterrupt
            heard, remaining_s = self._heard, (until_ns - time.time_ns()) / 1e9
            self._executor.spin_once(timeout_sec=min(max(remaining_s, 0.0), SPIN_S))
            if remaining_s <= 0 and self._heard == heard:
                return

    def commands(self) -> list[tuple[int, Command]]:
        """What came since the last call, with their stamps [ns]."""
        commands, self._commands = self._commands, []
        return commands

    def reactions_ms(self) -> list[float]:
        """Since the last call: from the moment that an image shows to the first command after its chunk [ms]."""
        reactions, self._reactions_ms = self._reactions_ms, []
        return reactions

    def is_policy_free(self) -> bool:
        """Whether the last image was answered, or will not be."""
        return self._answered_ns >= self._shown_ns or time.time_ns() - self._shown_ns > LOST_NS

    def problem(self, text: str) -> tuple[Outcome, str] | None:
        """Why the episode with this instruction must end, if it must."""
        now_s, limit_s = time.monotonic(), self._answer_timeout_s
        if self._is_agreed(text):
            self._agreed_s = now_s
        if self._is_gone() or now_s - self._commanded_s > limit_s:
            return "no_command", f"no command for {now_s - self._commanded_s:.1f} s: {self._states()}"
        if self.gate_state.startswith("FAULT"):
            return "held", self._states()
        if now_s - self._agreed_s > limit_s:
            return "held", f"policy_node and gate have not agreed on {text!r} for {limit_s:g} s: {self._states()}"
        return None

    def _chunk_subscribers(self) -> int:
        return super()._chunk_subscribers() - 1

    def _on_chunk(self, message: JointTrajectory) -> None:
        self._answered_ns = max(self._answered_ns, ns_from_stamp(message.header.stamp))
        if self._reacting is None:
            self._reacting = ns_from_stamp(message.header.stamp), time.time_ns()

    def _on_gripper(self, message: JointState) -> None:
        self._gripper = message
        # its word follows the arm's
        is_late = self._commands and self._commands[-1][0] == ns_from_stamp(message.header.stamp)
        if is_late and self._answered_ns:
            stamp_ns, command = self._commands[-1]
            self._commands[-1] = stamp_ns, replace(command, gripper=float(message.position[0]))

    def _on_twist(self, message: TwistStamped) -> None:
        stamp_ns = ns_from_stamp(message.header.stamp)
        self._commanded_s = time.monotonic()
        # until a chunk is about this episode, the gate only repeats how the gripper stood in the last one
        gripper = self._gripper if self._gripper is not None and self._answered_ns else JointState()
        self._commands.append((stamp_ns, command_from_messages(message, gripper, self._rate_hz)))
        if self._reacting is not None and stamp_ns > self._reacting[1]:
            self._reactions_ms.append((stamp_ns - self._reacting[0]) / 1e6)
            self._reacting = None
