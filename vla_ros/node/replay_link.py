"""The ROS side of a replay: recorded images and instructions to policy_node, and its answers back, one at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory
from typing_extensions import Self

from vla_ros.data.mcap_run import BUNDLE_KEY, AnsweredImage, policy_values
from vla_ros.data.recorded_chunk import RecordedChunk
from vla_ros.errors import EngineError, ObservationError
from vla_ros.node import qos
from vla_ros.node.environment import apply_defaults
from vla_ros.node.message_definition import message_class
from vla_ros.node.publish import publish

POLICY_NODE = "policy_node"
RESEND_S = 1.0
SPIN_S = 0.1
GRACE_S = 0.2
"""How long a state may arrive after the answer that ended it [s]."""

ACTIVE = ("ACTIVE", "HOLD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A chunk and the CDR that it came in."""

    chunk: RecordedChunk
    data: bytes


class ReplayLink:
    """Publishes to the policy_node of a ROS domain and waits for what it answers.

    Args:
        domain: ROS_DOMAIN_ID, in which nothing but policy_node runs.
        image_type: of the recorded images.
        check_alive: raises once policy_node has ended.
        answer_timeout_s: how long an answer is waited for [s, wall clock].

    Attributes:
        bundle_sha256: of the policy, by its own word; empty before that.
        diagnostics: CDR of the message that said so.
    """

    def __init__(self, domain: int, image_type: str, check_alive: Callable[[], None], answer_timeout_s: float) -> None:
        self._check_alive = check_alive
        self._answer_timeout_s = answer_timeout_s
        self._state = self._instruction = self.bundle_sha256 = ""
        self.diagnostics = b""
        self._echoes = 0
        self._reply: Reply | None = None
        apply_defaults()
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("replay", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        topic = "image/compressed" if image_type.endswith("/CompressedImage") else "image"
        self._images = self._node.create_publisher(message_class(image_type), topic, qos.IMAGE)
        self._instructions = self._node.create_publisher(String, "instruction", qos.LATCHED)
        subscribe = self._node.create_subscription
        subscribe(String, f"{POLICY_NODE}/state", self._on_state, qos.LATCHED)
        subscribe(String, f"{POLICY_NODE}/instruction", self._on_instruction, qos.LATCHED)
        subscribe(JointTrajectory, f"{POLICY_NODE}/action_chunk", self._on_chunk, qos.RELIABLE, raw=True)
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.RELIABLE, raw=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait for policy_node, active and connected.

        Raises:
            EngineError: it is not there in time.
        """
        is_ready = self._wait(lambda: self._is_active and self._echoes and self.bundle_sha256, timeout_s)
        if not is_ready:
            state = self._state or "unknown"
            raise EngineError(f"policy_node: expected to be active after {timeout_s:g} s, got state {state}")
        if not self._wait(self._is_connected, self._answer_timeout_s):
            raise EngineError(f"policy_node: expected its topics within {self._answer_timeout_s:g} s, got only some")

    def ask(self, image: AnsweredImage) -> Reply:
        """Give an instruction and an image, and return the answer to them.

        Raises:
            ObservationError: the policy refuses instruction or image.
            EngineError: it fails or does not answer in time.
        """
        self._instruct(image)
        self._reply = None
        deadline = time.monotonic() + self._answer_timeout_s
        while time.monotonic() < deadline:
            publish(self._node, self._images, image.data)
            self._wait(lambda: self._has_answer(image) or not self._is_serving, RESEND_S)
            if not self._is_serving:
                self._wait(lambda: self._has_answer(image) or self._is_serving, GRACE_S)
            if self._reply is not None and self._has_answer(image):
                return self._reply
            if not self._is_serving:
                raise ObservationError(f"{image.place}: policy_node: {self._state}")
        raise EngineError(f"{image.place}: expected an answer within {self._answer_timeout_s:g} s, got none")

    def _instruct(self, image: AnsweredImage) -> None:
        text = image.answer.instruction
        deadline = time.monotonic() + self._answer_timeout_s
        while self._instruction != text:
            if time.monotonic() > deadline:
                timeout_s = self._answer_timeout_s
                raise EngineError(f"{image.place}: instruction: expected an answer within {timeout_s:g} s, got none")
            echoes = self._echoes
            publish(self._node, self._instructions, String(data=text))
            self._wait(lambda: self._instruction == text or self._is_refused(echoes), RESEND_S)  # noqa: B023
            if self._is_refused(echoes):
                self._wait(lambda: not self._is_serving, GRACE_S)
                raise ObservationError(f"{image.place}: instruction {text!r}: policy_node: {self._state}")

    def _is_refused(self, echoes: int) -> bool:
        """Whether an empty echo came after so many others."""
        return self._echoes > echoes and not self._instruction

    def _wait(self, is_done: Callable[[], object], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not is_done():
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return False
            self._check_alive()
            self._executor.spin_once(timeout_sec=min(SPIN_S, remaining_s))
        return True

    def _is_connected(self) -> bool:
        listeners = [self._images.get_subscription_count(), self._instructions.get_subscription_count()]
        return all(listeners) and self._node.count_publishers(f"{POLICY_NODE}/action_chunk") > 0

    @property
    def _is_active(self) -> bool:
        return self._state.startswith(ACTIVE)

    @property
    def _is_serving(self) -> bool:
        return self._state == "ACTIVE"

    def _has_answer(self, image: AnsweredImage) -> bool:
        return self._reply is not None and self._reply.chunk.stamp_ns == image.stamp_ns

    def _on_state(self, message: String) -> None:
        self._state = message.data

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data
        self._echoes += 1

    def _on_chunk(self, data: bytes) -> None:
        self._reply = Reply(chunk=RecordedChunk.of(deserialize_message(data, JointTrajectory)), data=data)

    def _on_diagnostics(self, data: bytes) -> None:
        message = deserialize_message(data, DiagnosticArray)
        for pair in policy_values(message):
            if pair.key == BUNDLE_KEY:
                self.bundle_sha256, self.diagnostics = pair.value, data
