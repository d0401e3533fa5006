"""The operator of a run: gives the instruction, watches the gate, presses the emergency stop."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros.errors import ContractError
from vla_ros.node import qos
from vla_ros.node.process import SPIN_S, init

INSTRUCTION = "measure"
POLL_S = 0.01
RETRY_S = 1.0


class Operator:
    """A node with a thread that spins it, within a `with` block.

    It listens to no chunk: another subscriber would make publishing them slower than it is on a robot.

    Attributes:
        gate_state, policy_state: the nodes' last words.
        interruptions: states that the gate left RUN for.
    """

    def __init__(self) -> None:
        self.gate_state = self.policy_state = "not there yet"
        self.interruptions: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="operator")

    def __enter__(self) -> "Operator":
        init([])
        self._node = Node("operator")
        self._instructions = self._node.create_publisher(String, "instruction", qos.LATCHED)
        self._stops = self._node.create_publisher(Bool, "emergency_stop", qos.LATCHED)
        self._reset: Any = self._node.create_client(Trigger, "command_gate/reset")
        self._node.create_subscription(String, "command_gate/state", self._on_gate, qos.LATCHED)
        self._node.create_subscription(String, "policy_node/state", self._on_policy, qos.LATCHED)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown()

    @property
    def is_running(self) -> bool:
        """Whether the gate executes chunks."""
        return self.gate_state == "RUN"

    def run(self, watch: Callable[[], None], limit_s: float) -> None:
        """Give the instruction, reset a fault, until the gate runs; `watch` is called all the while.

        Raises:
            ContractError: it does not.
        """
        deadline = time.monotonic() + limit_s
        asked_s = 0.0
        while not self.is_running:
            watch()
            if time.monotonic() > deadline:
                raise ContractError(f"command_gate: expected RUN within {limit_s:g} s, got {self._states()}")
            if time.monotonic() > asked_s + RETRY_S:
                asked_s = time.monotonic()
                self._ask()
            time.sleep(POLL_S)

    def press(self) -> int:
        """Press the emergency stop; returns when [ns, system clock]."""
        pressed_ns = time.time_ns()
        self._stops.publish(Bool(data=True))
        return pressed_ns

    def release(self) -> int:
        """Release it; returns when [ns, system clock]."""
        released_ns = time.time_ns()
        self._stops.publish(Bool(data=False))
        return released_ns

    def _ask(self) -> None:
        if self.gate_state.startswith("FAULT") and self._reset.service_is_ready():
            self._reset.call_async(Trigger.Request()).add_done_callback(self._on_reset)
        else:
            self._instructions.publish(String(data=INSTRUCTION))

    def _on_reset(self, future: "Future[Trigger.Response]") -> None:
        self._instructions.publish(String(data=INSTRUCTION))

    def _states(self) -> str:
        return f"{self.gate_state!r}; policy_node: {self.policy_state!r}"

    def _on_gate(self, message: String) -> None:
        if self.is_running and message.data != self.gate_state:
            self.interruptions.append(message.data)
        self.gate_state = message.data

    def _on_policy(self, message: String) -> None:
        self.policy_state = message.data

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=SPIN_S)
