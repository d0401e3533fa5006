"""policy_node: one camera topic and one instruction topic in, chunks of actions out."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import Image
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_ros.control.observation_gate import ObservationGate, RepeatFilter
from vla_ros.errors import BundleError, ContractError, ObservationError
from vla_ros.node import qos
from vla_ros.node.managed import ManagedLifecycleNode
from vla_ros.node.messages import frame_from_image, trajectory_from_chunk
from vla_ros.node.parameters import PolicyParameters
from vla_ros.node.policy_worker import Inference, Policy, PolicyWorker
from vla_ros.node.process import run_node
from vla_ros.node.publish import publish
from vla_ros.observation import Observation
from vla_ros.processing.instruction import check_instruction

NAME = "policy_node"
MAX_FAILURES = 3
"""Inference exceptions in a row after which the node takes itself out of service."""
NO_INSTRUCTION = ObservationError("instruction: expected one before the first image, got none", "no instruction")

OpenPolicy = Callable[[Path, str, int], Policy]


def open_runner(bundle: Path, engine: str, threads: int) -> Policy:
    """Open a bundle with the engines of this package; imported only now, so that nodes start without them."""
    from vla_ros.engines.policy_runner import PolicyRunner

    return PolicyRunner.open(bundle, engine, threads)


class PolicyNode(ManagedLifecycleNode[PolicyParameters]):
    """Runs one policy on the newest admissible camera frame.

    Topics:
        image, instruction: in.
        ~/action_chunk: out, only while active.
        ~/instruction: out, latched: the instruction in force; empty if there is none or it was refused.
        ~/state: out, latched: ACTIVE, HOLD with the reason of the last refusal, FAULT …
    """

    def __init__(self, open_policy: OpenPolicy = open_runner) -> None:
        super().__init__(NAME, PolicyParameters)
        self._open_policy = open_policy
        self._policy: Policy | None = None
        self._worker: PolicyWorker | None = None
        self._gate: ObservationGate | None = None
        self._filter = RepeatFilter(time.monotonic_ns)
        self._instruction = ""
        self._no_instruction = NO_INSTRUCTION
        self._epoch = 0
        self._failures = 0
        self._is_active = False
        self._observation: Observation | None = None
        self._answer: JointTrajectory | None = None
        self._chunks = self.create_lifecycle_publisher(JointTrajectory, "~/action_chunk", qos.RELIABLE)
        self._echo = self.create_publisher(String, "~/instruction", qos.LATCHED)
        self._finished = self.create_guard_condition(self._on_finished)
        self.create_subscription(String, "instruction", self._on_instruction, qos.LATCHED)
        self.create_subscription(Image, "image", self._on_image, qos.IMAGE)

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
        self._policy = self._open_policy(bundle, self.values.engine, self.values.threads)
        self._policy.mark = self.trace.mark
        contract = self._policy.contract
        self.get_logger().info(f"policy {contract.name}, bundle sha256 {self._policy.bundle_sha256}")
        max_age_ns = None if self.values.lockstep else round(self.values.image_timeout_s * 1e9)
        self._gate = ObservationGate(contract.camera, max_age_ns=max_age_ns, now_ns=self._now_ns)
        self._worker = PolicyWorker(self._policy, self._finished.trigger, self.trace.mark)

    def cleanup(self) -> None:
        """Close the policy."""
        if self._worker is not None and not self._worker.stop():
            self.get_logger().error("the inference in progress does not return; it is left behind")
        self._worker = self._policy = self._gate = None

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        self._is_active, self._failures = True, 0
        publish(self, self._echo, String(data=self._instruction))
        self.show_state("ACTIVE")
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._forget()
        self._is_active = False
        if not self._is_faulty:
            self.show_state("INACTIVE")
        return super().on_deactivate(state)

    def end(self) -> None:
        """End the inference thread."""
        self._is_active = False
        self.cleanup()
        self.show_state("FINALIZED")

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    @property
    def _is_faulty(self) -> bool:
        return self._failures >= MAX_FAILURES

    # ---- in ----

    def _on_instruction(self, message: String) -> None:
        text = message.data
        self._no_instruction = NO_INSTRUCTION
        try:
            check_instruction(text)
            if self._policy is not None:
                self._policy.admit_instruction(text)
        except ObservationError as error:
            self._no_instruction = error
            self._refuse(error)
            text = ""
        if text != self._instruction or not text:
            self._instruction = text
            self._forget()
        if text and self._is_active:
            self.show_state("ACTIVE")
        publish(self, self._echo, String(data=text))

    def _forget(self) -> None:
        """Results for the former instruction are worth nothing any more, those in the making included."""
        self._epoch += 1
        self._answer = self._observation = None
        if self._worker is not None:
            self._worker.drop()

    def _on_image(self, message: Image) -> None:
        if not self._is_active or self._gate is None or self._worker is None:
            return
        frame = frame_from_image(message)
        self.trace.mark(frame.stamp_ns, "image")
        if self._observation is not None and frame.stamp_ns == self._observation.stamp_ns and self.values.lockstep:
            self._on_repeated_image()
            return
        if not self._instruction:
            self._refuse(self._no_instruction)  # one that was refused stays the reason
            return
        if self._observation is not None and frame.stamp_ns < self._observation.stamp_ns and self.values.lockstep:
            self._forget()  # the simulator was reset: an answer to its former life would be from the future
        try:
            image = self._gate.admit(frame)
        except ObservationError as refusal:
            self._refuse(refusal)
            return
        self._answer = None
        self._observation = Observation(image=image, instruction=self._instruction, stamp_ns=frame.stamp_ns)
        self.trace.mark(frame.stamp_ns, "admitted")
        self._worker.offer(self._observation, self._epoch)

    def _on_repeated_image(self) -> None:
        """A simulator that waits sends its image again: answer with the same chunk, or try again what failed."""
        if self._answer is not None:
            publish(self, self._chunks, self._answer)
        elif self._failures and self._worker is not None and self._observation is not None:
            self._worker.offer(self._observation, self._epoch)

    def _refuse(self, error: ObservationError) -> None:
        if self._filter.passes(error.reason):
            self.get_logger().warning(f"refused: {error}")
        if self._is_active:
            self.show_state(f"HOLD: {error}")

    # ---- out ----

    def _on_finished(self) -> None:
        for inference in self._worker.take() if self._worker is not None else []:
            if inference.epoch == self._epoch and self._is_active:
                self._on_inference(inference)

    def _on_inference(self, inference: Inference) -> None:
        if inference.chunk is None:
            self._on_failure(inference.error)
            return
        self._failures = 0
        try:
            self._check(inference)
        except ContractError as error:
            self._on_failure(str(error))
            return
        self._answer = trajectory_from_chunk(inference.chunk)
        publish(self, self._chunks, self._answer)
        self.show_state("ACTIVE")

    def _check(self, inference: Inference) -> None:
        if inference.chunk is not None and inference.chunk.stamp_ns != inference.observation.stamp_ns:
            expected, got = inference.observation.stamp_ns, inference.chunk.stamp_ns
            raise ContractError(f"policy: chunk.stamp_ns: expected the observation's, {expected}, got {got}")

    def _on_failure(self, reason: str) -> None:
        self._failures += 1
        self.get_logger().error(f"inference failed, {self._failures} of {MAX_FAILURES}: {reason}")
        if not self._is_faulty:
            self.show_state(f"HOLD: inference failed: {reason}")
            return
        self.show_state(f"FAULT: inference failed {MAX_FAILURES} times in a row: {reason}")
        self.trigger_deactivate()


def main(arguments: list[str] | None = None, open_policy: OpenPolicy = open_runner) -> int:
    """Run the node; `arguments` default to the command line's."""
    return run_node(NAME, __doc__ or NAME, lambda: PolicyNode(open_policy), arguments)


if __name__ == "__main__":
    sys.exit(main())
