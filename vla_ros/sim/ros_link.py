"""The ROS side of a simulator in simulated time: it is the clock, too, and it waits for every answer."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import TimeReference

from vla_ros.node import qos
from vla_ros.node.messages import command_from_messages, ns_from_stamp, stamp_from_ns
from vla_ros.node.publish import publish
from vla_ros.sim.camera_schedule import Shot
from vla_ros.sim.film import Image
from vla_ros.sim.lockstep import Reply
from vla_ros.sim.ros_node import STOPPED, SimulatorNode

RESEND_S = 1.0
GRACE_S = 0.2
"""How long a state that was published before a command may arrive after it [s]."""
RESET_NS = 1
"""A simulated time that is earlier than any of an episode [ns]."""
REFUSAL = "last refusal: "
"""In the gate's state, if it holds because of a chunk that it refused."""


class RosLink(SimulatorNode):
    """Publishes image, instruction and the time; collects the command of each tick.

    The time is /clock, or `~/tick` where the answer is to be about a certain chunk, or about none.
    """

    def __init__(self, *, camera: str, rate_hz: float, answer_timeout_s: float, stop: threading.Event) -> None:
        super().__init__(camera=camera, rate_hz=rate_hz, answer_timeout_s=answer_timeout_s, stop=stop)
        self._clocks = self.create_publisher(Clock, "/clock", qos.RELIABLE)
        self._ticks = self.create_publisher(TimeReference, "~/tick", qos.RELIABLE)

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
            self._tell(text)
            self._wait(is_answered, RESEND_S)
        if self._is_agreed(text):
            return ""
        self._wait(self._is_policy_stopped, GRACE_S)
        return f"the instruction {text!r} was refused: {self._states()}"

    def ask(self, stamp_ns: int, image: Image | None) -> Reply:
        """Show an image, let the time be `stamp_ns` and wait for the one command of this control period."""
        clock = Clock(clock=stamp_from_ns(stamp_ns))
        shot = None if image is None else Shot(image=image, stamp_ns=stamp_ns)
        reply = self._exchange(stamp_ns, shot, lambda: publish(self, self._clocks, clock))
        if reply.command is None or not (reply.command.is_stop and self._is_stopped()):
            return reply
        # the state may be that of the last episode, with the news of this one still on its way
        self._wait(lambda: not self._is_stopped(), GRACE_S)
        return self._with_problem(reply) if self._is_stopped() else replace(reply, gate_state=self.gate_state)

    def restart(self) -> None:
        """Let the gate forget the last episode: a time before all others tells it that the simulator was reset."""
        self.tick(RESET_NS, None)

    def tick(self, stamp_ns: int, shot: Shot | None) -> Reply:
        """Show an image of some moment, let the time be `stamp_ns` and wait for the one command.

        To have nothing due is no problem here, for the world goes on; that the policy does not work is one.
        """
        message = TimeReference(source="simulator")
        message.header.stamp = stamp_from_ns(stamp_ns)
        message.time_ref = stamp_from_ns(0 if shot is None else shot.stamp_ns)
        reply = self._exchange(stamp_ns, shot, lambda: publish(self, self._ticks, message))
        is_failure = self._is_policy_stopped() or REFUSAL in self.gate_state
        if reply.command is not None and (
            self.gate_state.startswith("FAULT") or (shot is not None and self._is_stopped() and is_failure)
        ):
            return self._with_problem(reply)
        return reply

    def _exchange(self, stamp_ns: int, shot: Shot | None, let_time_pass: Callable[[], object]) -> Reply:
        start = time.monotonic()
        deadline = start + self._answer_timeout_s
        while time.monotonic() < deadline and not self._is_gone():
            if shot is not None:
                self._show(shot)
            let_time_pass()
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
        is_moving = not command.is_stop and self._is_stopped()  # then the state is on its way
        state = "RUN" if is_moving else self.gate_state
        return Reply(command=command, gate_state=state, problem="", reaction_ms=reaction_ms)

    def _with_problem(self, reply: Reply) -> Reply:
        return replace(reply, gate_state=self.gate_state, problem=self._states())

    def _also_missing(self) -> dict[str, bool]:
        subscribers = min(self._clocks.get_subscription_count(), self._ticks.get_subscription_count())
        return {"a subscriber of /clock and ~/tick: command_gate with lockstep: true": subscribers < 1}

    def _is_policy_stopped(self) -> bool:
        return self.policy_state.startswith(STOPPED)

    def _has_answer(self, stamp_ns: int) -> bool:
        return all(
            message is not None and ns_from_stamp(message.header.stamp) == stamp_ns
            for message in (self._twist, self._gripper)
        )
