"""What state a policy is in: why it holds, if it does, and when failures in a row become a fault."""

from typing import Literal

Cause = Literal["instruction", "inference", "image"]

CAUSES: tuple[Cause, ...] = ("instruction", "inference", "image")
"""By weight: of several, the state names the first."""

MAX_FAILURES = 3
"""Inferences in a row that fail or time out after which the policy is out of service until an operator looks."""


class PolicyState:
    """ACTIVE, or HOLD for a cause as long as it lasts, or FAULT for good.

    Attributes:
        failures: inferences that failed or timed out since the last one that did not.
    """

    def __init__(self) -> None:
        self._reasons: dict[Cause, str] = {}
        self._fault = ""
        self.failures = 0

    @property
    def is_serving(self) -> bool:
        """Whether what the policy answers may be acted upon."""
        return not self._reasons and not self.is_faulty

    @property
    def is_faulty(self) -> bool:
        """Whether only an operator can make it serve again."""
        return bool(self._fault)

    @property
    def text(self) -> str:
        """In one line: `ACTIVE`, `HOLD: reason` or `FAULT: reason`."""
        if self._fault:
            return f"FAULT: {self._fault}"
        reason = next((self._reasons[cause] for cause in CAUSES if cause in self._reasons), "")
        return f"HOLD: {reason}" if reason else "ACTIVE"

    def holds_for(self, cause: Cause) -> bool:
        """Whether this is one of the causes of the hold."""
        return cause in self._reasons

    def hold(self, cause: Cause, reason: str) -> None:
        """Hold from now on, or for another reason of the same cause."""
        self._reasons[cause] = reason

    def release(self, cause: Cause) -> None:
        """This cause is gone."""
        self._reasons.pop(cause, None)

    def fail(self, reason: str) -> None:
        """An inference failed or timed out: hold; the third time in a row it is a fault."""
        self.failures += 1
        self.hold("inference", f"inference failed: {reason}")
        if self.failures >= MAX_FAILURES:
            self._fault = f"inference failed {MAX_FAILURES} times in a row: {reason}"

    def succeed(self) -> None:
        """An inference went well."""
        self.failures = 0
        self.release("inference")


class HangDetector:
    """Counts how often an inference has used up its time; it never ends one, for nothing can end a thread."""

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._begun_ns: int | None = None
        self._timeouts = 0

    def has_timed_out(self, begun_ns: int | None, now_ns: int) -> bool:
        """Whether one more timeout has passed, told once each.

        Args:
            begun_ns: when the inference in progress began, None if there is none [ns].
            now_ns: time of the same clock, one that is never set [ns].
        """
        if begun_ns != self._begun_ns:
            self._begun_ns, self._timeouts = begun_ns, 0
        if begun_ns is None or now_ns - begun_ns <= (self._timeouts + 1) * self._timeout_ns:
            return False
        self._timeouts += 1
        return True
