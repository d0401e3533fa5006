"""Counts and times of a policy in service, for /diagnostics."""

from collections import deque

import numpy as np

from vla_ros.control.observation_gate import ObservationGate
from vla_ros.node.policy_worker import Inference, PolicyWorker

WINDOW = 1000
"""Inferences that the percentiles are about, the newest ones."""


class PolicyStatistics:
    """What happened since the policy was opened.

    Attributes:
        failures: inferences that raised, or answered what is no chunk.
        timeouts: how often an inference used up its time; one that hangs counts again and again.
        outdated: answers dropped because the instruction had changed, or the node had held, in the meantime.
        late: answers dropped because they came after their timeout.
    """

    def __init__(self) -> None:
        self.failures = self.timeouts = self.outdated = self.late = 0
        self._inferences = 0
        self._durations_s: deque[float] = deque(maxlen=WINDOW)

    def add(self, inference: Inference) -> None:
        """Count an inference that returned."""
        self._inferences += 1
        self.late += inference.is_abandoned
        self._durations_s.append(inference.duration_ns / 1e9)

    def values(self, gate: ObservationGate, worker: PolicyWorker) -> dict[str, object]:
        """For a diagnostic status; admitted frames were dropped, became inferences or, at most two, are under way."""
        refused = {f"frames_refused: {reason}": count for reason, count in sorted(gate.refused.items())}
        return {
            "frames_received": gate.admitted + gate.refused.total(),
            "frames_admitted": gate.admitted,
            "frames_dropped": worker.dropped,
            "frames_refused": gate.refused.total(),
            **refused,
            "inferences": self._inferences,
            "inference_p50_s": self._percentile(50),
            "inference_p99_s": self._percentile(99),
            "inferences_failed": self.failures,
            "inferences_timed_out": self.timeouts,
            "answers_outdated": self.outdated,
            "answers_late": self.late,
        }

    def _percentile(self, percent: float) -> str:
        return f"{np.percentile(self._durations_s, percent):.4f}" if self._durations_s else ""
