"""The inference thread: always the newest observation, one at a time, never a queue."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vla_ros.action import ActionChunk
from vla_ros.contract import PolicyContract
from vla_ros.errors import ContractError
from vla_ros.observation import Observation

JOIN_S = 3.0


class Policy(Protocol):
    """What policy_node runs: `vla_ros.engines.policy_runner.PolicyRunner`."""

    contract: PolicyContract
    bundle_sha256: str
    mark: Callable[[int, str], None]
    """Set by the node: to be called with the observation's stamp [ns] and `prepared` once preprocessing is done."""

    def admit_instruction(self, text: str) -> None:
        """Raises ObservationError where the tokenizer cannot take the text safely."""

    def predict(self, observation: Observation) -> ActionChunk:
        """One forward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """One finished forward pass.

    Attributes:
        observation: what went in.
        epoch: of the instruction that went in.
        chunk: what came out, or None if it failed.
        error: why it failed; empty if it did not.
        duration_ns: how long it took [ns].
        is_abandoned: whether it had timed out before it returned, so that nobody may use it.
    """

    observation: Observation
    epoch: int
    chunk: ActionChunk | None
    error: str = ""
    duration_ns: int
    is_abandoned: bool = False

    def checked_chunk(self) -> ActionChunk:
        """The chunk.

        Raises:
            ContractError: the inference failed, or the chunk says that it is about another observation.
        """
        if self.chunk is None:
            raise ContractError(self.error)
        expected, got = self.observation.stamp_ns, self.chunk.stamp_ns
        if got != expected:
            raise ContractError(f"policy: chunk.stamp_ns: expected the observation's, {expected}, got {got}")
        return self.chunk


class PolicyWorker:
    """Runs a policy in its own thread; `notify` is called from that thread whenever `take` has something new."""

    def __init__(self, policy: Policy, notify: Callable[[], object], mark: Callable[[int, str], None]) -> None:
        """Start the thread; `mark` is called with an observation's stamp [ns] and `begun` or `inferred`."""
        self._policy = policy
        self._mark = mark
        self._notify = notify
        self._condition = threading.Condition()
        self._offered: tuple[Observation, int] | None = None
        self._begun_ns: int | None = None
        self._is_abandoned = False
        self._dropped = 0
        self._finished: list[Inference] = []
        self._is_stopping = False
        # a daemon, so that an inference that hangs for ever cannot keep the process from ending
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def begun_ns(self) -> int | None:
        """When the inference in progress began, by the steady clock; None if there is none [ns]."""
        with self._condition:
            return self._begun_ns

    @property
    def is_hung(self) -> bool:
        """Whether an inference that was abandoned has not returned yet: none can begin before that."""
        with self._condition:
            return self._is_abandoned and self._begun_ns is not None

    @property
    def dropped(self) -> int:
        """How many observations never began: a newer one took their place, or they were forgotten."""
        with self._condition:
            return self._dropped

    def offer(self, observation: Observation, epoch: int) -> None:
        """Make this the next observation; one that was not begun yet is dropped."""
        with self._condition:
            self._dropped += self._offered is not None
            self._offered = (observation, epoch)
            self._condition.notify()

    def drop(self) -> None:
        """Forget the observation that was not begun yet."""
        with self._condition:
            self._dropped += self._offered is not None
            self._offered = None

    def abandon(self, begun_ns: int) -> None:
        """Give up the inference that began then: what it answers comes too late, if it comes at all."""
        with self._condition:
            self._is_abandoned = self._is_abandoned or self._begun_ns == begun_ns

    def take(self) -> list[Inference]:
        """What finished since the last call."""
        with self._condition:
            finished, self._finished = self._finished, []
        return finished

    def stop(self) -> bool:
        """End the thread; False if the inference in progress did not return in time."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        self._thread.join(JOIN_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._offered is not None or self._is_stopping)
                if self._is_stopping or self._offered is None:
                    return
                (observation, epoch), self._offered = self._offered, None
                begun_ns = self._begun_ns = time.monotonic_ns()
                self._is_abandoned = False
            chunk, error = self._infer(observation)
            with self._condition:
                if self._is_stopping:
                    return
                self._begun_ns = None
                inference = Inference(
                    observation=observation,
                    epoch=epoch,
                    chunk=chunk,
                    error=error,
                    duration_ns=time.monotonic_ns() - begun_ns,
                    is_abandoned=self._is_abandoned,
                )
                self._finished.append(inference)
            self._notify()

    def _infer(self, observation: Observation) -> tuple[ActionChunk | None, str]:
        """The chunk, or why there is none."""
        self._mark(observation.stamp_ns, "begun")
        try:
            chunk = self._policy.predict(observation)
        except Exception as error:  # an engine may raise anything; the node counts it and the arm holds
            return None, f"{type(error).__name__}: {' '.join(str(error).split())}"
        self._mark(observation.stamp_ns, "inferred")
        return chunk, ""
