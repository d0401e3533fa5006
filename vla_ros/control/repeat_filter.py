"""A log that stays readable while a fault repeats itself."""

from collections.abc import Callable


class RepeatFilter:
    """Lets the first message of every kind through, then one in a while: a 30 Hz fault is not 30 lines a second."""

    def __init__(self, now_ns: Callable[[], int], period_ns: int = 5_000_000_000) -> None:
        self._now_ns = now_ns
        self._period_ns = period_ns
        self._last_ns: dict[str, int] = {}

    def passes(self, kind: str) -> bool:
        """Whether a message of this kind is to be logged now."""
        now_ns = self._now_ns()
        last_ns = self._last_ns.get(kind)
        if last_ns is not None and now_ns - last_ns < self._period_ns:
            return False
        self._last_ns[kind] = now_ns
        return True
