"""policy_node: one camera topic and one instruction topic in, chunks of actions out."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.timer import Timer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_ros.control.instruction_gate import InstructionGate
from vla_ros.control.observation_gate import ObservationGate
from vla_ros.control.policy_state import MAX_FAILURES, HangDetector, PolicyState
from vla_ros.control.repeat_filter import RepeatFilter
from vla_ros.errors import BundleError, ContractError, ObservationError
from vla_ros.node import qos
from vla_ros.node.debug_image import DebugImage
from vla_ros.node.diagnostics import Diagnostics, make_status
from vla_ros.node.managed import ManagedLifecycleNode
from vla_ros.node.messages import ns_from_stamp, trajectory_from_chunk
from vla_ros.node.policy_parameters import PolicyParameters
from vla_ros.node.policy_statistics import PolicyStatistics
from vla_ros.node.policy_worker import Inference, Policy, PolicyWorker
from vla_ros.node.process import run_node
from vla_ros.node.publish import publish
from vla_ros.node.scheduling import inherited_priority
from vla_ros.observation import Observation

NAME = "policy_node"
MAX_REFUSED = 3
"""Refused frames in a row after which the node holds; a single one is counted and the next one waited for."""

OpenPolicy = Callable[[Path, str, int], Policy]


def open_runner(bundle: Path, engine: str, threads: int) -> Policy:
    """Open a bundle with the engines of this package; imported only now, so that nodes start without them."""
    from vla_ros.engines.policy_runner import PolicyRunner

    return PolicyRunner.open(bundle, engine, threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a configured node has."""

    policy: Policy
    gate: ObservationGate
    worker: PolicyWorker
    hang: HangDetector


class PolicyNode(ManagedLifecycleNode[PolicyParameters]):
    """Runs one policy on the newest admissible camera frame.

    A frame goes from `_on_image` through the observation gate to the inference thread; what that answers comes back
    through `_on_finished` and is published. `_watch` looks, once per control period, what has not come in time.

    Topics:
        image, or image/compressed: in.
        instruction: in, latched.
        ~/action_chunk: out, only while active.
        ~/instruction: out, latched: the instruction whose chunks may be acted upon. Empty while there is none, it was
            refused, or the node holds: command_gate then stops at once. In lockstep a hold leaves it, for there the
            world stands still until a chunk comes.
        ~/state: out, latched: ACTIVE, HOLD with its reason, FAULT …
        ~/debug_image: out, for people, while one looks.
        /diagnostics: out, on change and once a second.
    """

    def __init__(self, open_policy: OpenPolicy = open_runner) -> None:
        self._diagnostics: Diagnostics | None = None
        super().__init__(NAME, PolicyParameters)
        self._open_policy = open_policy
        self._opened: Opened | None = None
        self._state = PolicyState()
        self._statistics = PolicyStatistics()
        self._filter = RepeatFilter(time.monotonic_ns)
        self._instruction = InstructionGate()
        self._echoed: str | None = None
        self._epoch = 0
        self._is_active = False
        self._watches: list[Timer] = []
        self._mistake: Exception | None = None
        self._fresh_ns = 0
        self._last_refusal = ""
        self._observation: Observation | None = None
        self._newest: Observation | None = None
        self._answer: JointTrajectory | None = None
        self._chunks = self.create_lifecycle_publisher(JointTrajectory, "~/action_chunk", qos.RELIABLE)
        self._echo = self.create_publisher(String, "~/instruction", qos.LATCHED)
        self._debug_image = DebugImage(self)
        self._diagnostics = Diagnostics(self, self._status)
        self.create_subscription(String, "instruction", self._on_instruction, qos.LATCHED)
        kind, topic = Image, self.resolve_topic_name("image")
        if self.values.image_transport == "compressed":
            kind, topic = CompressedImage, f"{topic}/compressed"
        self._image_topic = topic
        self.create_subscription(kind, topic, self._on_image, qos.IMAGE)

    # ---- life cycle ----

    def configure(self) -> None:
        """Verify the bundle, open the engine, warm it up and check its golden answer.

        Raises:
            BundleError, EngineError: the policy cannot be trusted or cannot run.
        """
        bundle = Path(self.values.bundle)
        if not bundle.is_dir():
            raise BundleError(f"{bundle.absolute()}: expected a policy bundle, got no such folder (parameter bundle)")
        self.get_logger().info(f"opening {bundle} with {self.values.engine}")
        with inherited_priority(0):
            policy = self._open_policy(bundle, self.values.engine, self.values.threads)
        policy.mark = self.trace.mark
        self.get_logger().info(f"policy {policy.contract.name}, bundle sha256 {policy.bundle_sha256}")
        gate = ObservationGate(
            policy.contract.camera,
            max_age_ns=None if self.values.lockstep else round(self.values.image_timeout_s * 1e9),
            max_identical_frames=self.values.max_identical_frames,
            now_ns=self._now_ns,
        )
        with inherited_priority(self.values.inference_priority):
            worker = PolicyWorker(policy, self._notify, self.trace.mark)
        hang = HangDetector(round(self.values.inference_timeout_s * 1e9))
        self._opened = Opened(policy=policy, gate=gate, worker=worker, hang=hang)
        self._statistics = PolicyStatistics()
        if self._instruction.said is not None:
            self._take_instruction(self._instruction.said)  # which this policy's tokenizer has yet to judge

    def cleanup(self) -> None:
        """Close the policy."""
        if self._opened is not None and not self._opened.worker.stop():
            self.get_logger().error("the inference in progress does not return; it is left behind")
        self._opened = None

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._opened is not None
        if self._opened.worker.is_hung:
            self.get_logger().error(f"activate: an inference that timed out has not returned. {self._mend}")
            return TransitionCallbackReturn.FAILURE
        result = super().on_activate(state)
        self._state = PolicyState()
        if self._instruction.was_refused:
            self._state.hold("instruction", str(self._instruction.refusal))
        self._is_active = True
        self._fresh_ns = time.monotonic_ns()
        period_s = self._opened.policy.contract.action.period_ns / 1e9
        self._watches = [self.create_timer(period_s, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))]
        self._echoed = None
        self._show()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        if not self._state.is_faulty:
            self.show_state("INACTIVE")
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        return super().on_shutdown(state)

    def end(self) -> None:
        """End the inference thread."""
        self._stop()
        self.cleanup()
        self.show_state("FINALIZED")

    def _stop(self) -> None:
        """From now on nothing is answered; the gate hears of it first."""
        if self._is_active:
            self._is_active = False
            publish(self, self._echo, String())
        self._forget()
        for timer in self._watches:
            self.destroy_timer(timer)
        self._watches = []

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    # ---- in ----

    def _on_instruction(self, message: String) -> None:
        self._echoed = None  # every instruction is answered, a repeated one too
        self._take_instruction(message.data)

    def _take_instruction(self, said: str) -> None:
        admit = None if self._opened is None else self._opened.policy.admit_instruction
        is_another = self._instruction.take(said, admit)
        if self._instruction.text:
            self._state.release("instruction")
        else:
            self._refuse(self._instruction.refusal)
            self._state.hold("instruction", str(self._instruction.refusal))
        if is_another:
            self._forget()
            self._fresh_ns = time.monotonic_ns()
        self._show()

    def _forget(self) -> None:
        """Results for the former instruction are worth nothing any more, those in the making included."""
        self._epoch += 1
        self._answer = self._observation = None
        if self._opened is not None:
            self._opened.worker.drop()

    def _on_image(self, message: Any) -> None:
        opened = self._opened
        if opened is None or not self._is_active:
            return
        stamp_ns = ns_from_stamp(message.header.stamp)
        self.trace.mark(stamp_ns, "image")
        if self.values.lockstep and self._observation is not None:
            if stamp_ns == self._observation.stamp_ns:
                self._on_repeated_image()
                return
            if stamp_ns < self._observation.stamp_ns:
                self._forget()  # the simulator was reset: an answer to its former life would be from the future
        instruction = self._instruction.text
        if not instruction:
            opened.gate.refused["no instruction"] += 1
            self._refuse(self._instruction.refusal)
            self._state.hold("instruction", str(self._instruction.refusal))
            self._show()
            return
        try:
            image = opened.gate.admit(message, stamp_ns)
        except ObservationError as refusal:
            self._on_refused_image(refusal, opened.gate.refused_in_a_row)
            return
        self._answer = None
        self._newest = self._observation = Observation(image=image, instruction=instruction, stamp_ns=stamp_ns)
        self.trace.mark(stamp_ns, "admitted")
        opened.worker.offer(self._observation, self._epoch)
        self._fresh_ns, self._last_refusal = time.monotonic_ns(), ""
        self._state.release("image")
        self._show()

    def _on_refused_image(self, refusal: ObservationError, in_a_row: int) -> None:
        self._refuse(refusal)
        self._last_refusal = str(refusal)
        # a simulator in lockstep has nothing else to show until this one is answered
        if self.values.lockstep or in_a_row >= MAX_REFUSED:
            self._hold_for_image(str(refusal))

    def _hold_for_image(self, reason: str) -> None:
        self._state.hold("image", reason)
        if not self.values.lockstep:
            self._forget()
        self._show()

    def _on_repeated_image(self) -> None:
        """A simulator that waits sends its image again: answer with the same chunk, or try again what failed."""
        if self._answer is not None:
            publish(self, self._chunks, self._answer)
        elif self._state.failures and self._opened is not None and self._observation is not None:
            self._opened.worker.offer(self._observation, self._epoch)

    def _refuse(self, error: ObservationError) -> None:
        if self._filter.passes(error.reason):
            self.get_logger().warning(f"refused: {error}")

    # ---- what does not come ----

    def _watch(self) -> None:
        """Once per control period, by the steady clock: what should have come by now and has not?"""
        if self._mistake is not None:
            raise self._mistake
        if self._opened is None or not self._is_active:
            return
        now_ns = time.monotonic_ns()
        self._watch_images(now_ns)
        self._watch_inference(self._opened, now_ns)
        if self._newest is not None and not self._state.is_serving:
            self._debug_image.show(self._newest, self._state.text, None)

    def _watch_images(self, now_ns: int) -> None:
        missing_s = (now_ns - self._fresh_ns) / 1e9
        is_awaited = self._instruction.text and not self.values.lockstep and not self._state.holds_for("image")
        if not is_awaited or missing_s <= self.values.image_timeout_s:
            return
        why = f"the last one was refused: {self._last_refusal}" if self._last_refusal else "none was refused"
        if not self.count_publishers(self._image_topic):
            why = f"nobody publishes {self._image_topic}"
        expected = f"expected a good frame within {self.values.image_timeout_s:g} s"
        self._hold_for_image(f"image: {expected}, got none for {missing_s:.2f} s; {why}")

    def _watch_inference(self, opened: Opened, now_ns: int) -> None:
        begun_ns = opened.worker.begun_ns
        if begun_ns is None or not opened.hang.has_timed_out(begun_ns, now_ns):
            return
        opened.worker.abandon(begun_ns)
        self._statistics.timeouts += 1
        limit_s, got_s = self.values.inference_timeout_s, (now_ns - begun_ns) / 1e9
        self._fail(
            f"expected an answer within {limit_s:g} s, got none for {got_s:.1f} s; no other inference can begin before "
            f"this one returns. {self._mend}"
        )

    @property
    def _mend(self) -> str:
        name = self.get_fully_qualified_name()
        return (
            f"If it never does: `ros2 lifecycle set {name} cleanup` leaves it behind, configure and activate open the "
            "engine anew; where that does not help, restart the process"
        )

    # ---- out ----

    def _notify(self) -> None:
        """Called from the inference thread."""
        if self.executor is not None:
            self.executor.create_task(self._take_finished)

    def _take_finished(self) -> None:
        try:
            self._on_finished()
        except Exception as error:
            # raised out of a task it would end the process by a signal, without a word (ros2/rclpy issue 1641)
            self._mistake = error

    def _on_finished(self) -> None:
        for inference in self._opened.worker.take() if self._opened is not None else []:
            self._statistics.add(inference)
            if inference.is_abandoned:
                took_s = inference.duration_ns / 1e9
                self.get_logger().warning(f"an inference returned after {took_s:.1f} s; its answer is dropped")
            elif inference.epoch == self._epoch and self._is_active:
                self._on_inference(inference)
            else:
                self._statistics.outdated += 1

    def _on_inference(self, inference: Inference) -> None:
        try:
            chunk = inference.checked_chunk()
        except ContractError as error:
            self._statistics.failures += 1
            self._fail(str(error))
            return
        self._state.succeed()
        self._answer = trajectory_from_chunk(chunk)
        publish(self, self._chunks, self._answer)
        self._show()
        self._debug_image.show(inference.observation, self._state.text, chunk)

    def _fail(self, reason: str) -> None:
        self._state.fail(reason)
        self.get_logger().error(f"inference failed, {self._state.failures} of {MAX_FAILURES}: {reason}")
        self._show()
        if self._state.is_faulty:
            self.trigger_deactivate()

    def _show(self) -> None:
        """Echo and state, where they changed; the echo first, for it is what stops the robot."""
        if not self._is_active:
            return
        is_answered = self._state.is_serving or self.values.lockstep
        text = self._instruction.text if is_answered else ""
        if text != self._echoed and publish(self, self._echo, String(data=text)):
            self._echoed = text
        self.show_state(self._state.text)

    def show_state(self, text: str) -> None:
        """Publish the state, and what there is to say about it, if it changed."""
        is_news = text != self._state_text
        super().show_state(text)
        if is_news and self._diagnostics is not None:
            self._diagnostics.publish()

    def _status(self) -> DiagnosticStatus:
        values: dict[str, object] = {
            "instruction": self._instruction.text,
            "bundle": self.values.bundle,
            "engine": self.values.engine,
        }
        hardware_id = ""
        if self._opened is not None:
            hardware_id = self._opened.policy.contract.name
            newest_ns = None if self._newest is None else self._newest.stamp_ns
            values["bundle_sha256"] = self._opened.policy.bundle_sha256
            values["frame_age_s"] = "" if newest_ns is None else f"{(self._now_ns() - newest_ns) / 1e9:.3f}"
            values |= self._statistics.values(self._opened.gate, self._opened.worker)
        return make_status(self.get_name(), self._state_text, hardware_id, values)


def main(arguments: list[str] | None = None, open_policy: OpenPolicy = open_runner) -> int:
    """Run the node; `arguments` default to the command line's."""
    return run_node(NAME, __doc__ or NAME, lambda: PolicyNode(open_policy), arguments)


if __name__ == "__main__":
    sys.exit(main())
