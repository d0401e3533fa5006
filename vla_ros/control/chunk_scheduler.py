"""Which row of a chunk is due now: indexed by time, so that a late chunk is never played late."""

from dataclasses import dataclass, replace

from vla_ros.action import ActionChunk

JITTER = 0.25
"""How far from its period a row may run, as a part of the period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The chunk in execution.

    Late steps are skipped: the displacement that they would have made is lost.

    Attributes:
        chunk: the newest admitted chunk, or None.
        next_row: rows below this one were executed or are past; the index never goes back.
    """

    chunk: ActionChunk | None = None
    next_row: int = 0

    def is_newer(self, chunk: ActionChunk) -> bool:
        """Whether `chunk` comes from a later observation than the one in execution."""
        return self.chunk is None or chunk.stamp_ns > self.chunk.stamp_ns

    def with_chunk(self, chunk: ActionChunk) -> "Schedule":
        """Execute `chunk` from now on; what was left of the former one is dropped."""
        return Schedule(chunk=chunk)

    def due_row(self, now_ns: int, execution_horizon: int) -> int | None:
        """The row to execute now, or None: row k is due during [stamp + k * period, stamp + (k + 1) * period).

        Once a chunk runs, the row after the last one is also due JITTER of a period before and after that: a timer
        that ticks near the border between two rows would otherwise miss one and repeat none, stop and go.

        Args:
            now_ns: the present, in the clock of the observation stamps [ns].
            execution_horizon: rows from this one on are never executed.
        """
        if self.chunk is None:
            return None
        period_ns = self.chunk.period_ns
        row = (now_ns - self.chunk.stamp_ns) // period_ns
        since_next_ns = now_ns - self.chunk.stamp_ns - self.next_row * period_ns
        if self.next_row and -JITTER * period_ns <= since_next_ns < (1 + JITTER) * period_ns:
            row = self.next_row
        if not self.next_row <= row < min(execution_horizon, len(self.chunk)):
            return None
        return row

    def after(self, row: int) -> "Schedule":
        """The schedule once `row` was executed."""
        return replace(self, next_row=row + 1)
