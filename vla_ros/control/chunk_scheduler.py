"""Which part of a chunk is due now: by time, so that a late chunk is never played late."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from vla_ros.action import ARM_DIM, ActionChunk
from vla_ros.control.displacement import NONE, Displacement, compose, remaining
from vla_ros.control.displacement_ledger import DisplacementLedger

LateSteps = Literal["ledger", "skip", "restart"]
"""What becomes of the rows that are past when their chunk arrives.

ledger: their displacement is made up for, less what was commanded since the observation, as fast as the limits allow;
if that is nothing, the arm is where it was seen, and all rows run from the chunk's arrival on.
skip: it is lost. restart: all rows run from the arrival on, whatever was commanded since.
"""

JITTER = 0.25
"""How late a tick may be for `skip` to count nothing as past, as a part of the period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What the tick is to command.

    Attributes:
        delta: float64 [6], m and rad, to be made within one period.
        gripper: opening of the row in the middle of the period.
        until_ns: where in the chunk's time the period ends [ns].
    """

    delta: Displacement
    gripper: float
    until_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The chunk in execution.

    Its displacement is spread evenly over each row's period: row k is due during
    [start_ns + k * period, start_ns + (k + 1) * period), and ticks need not fall onto these borders.

    Attributes:
        chunk: the newest admitted chunk, or None.
        start_ns: when its first row is due: its observation's stamp, or its arrival [ns].
        done_ns: how much of the chunk's time is dealt with: commanded, or past; it never goes back [ns].
        owed: float64 [6], what is still to be commanded of that time; what was commanded too much is owed back.
    """

    chunk: ActionChunk | None = None
    start_ns: int = 0
    done_ns: int = 0
    owed: Displacement = field(default_factory=lambda: NONE)

    def is_newer(self, chunk: ActionChunk) -> bool:
        """Whether `chunk` comes from a later observation than the one in execution."""
        return self.chunk is None or chunk.stamp_ns > self.chunk.stamp_ns

    @classmethod
    def of(cls, chunk: ActionChunk, now_ns: int, late: LateSteps, ledger: DisplacementLedger) -> "Schedule":
        """Execute `chunk` from now on; what was left of the former one is dropped."""
        commanded = ledger.since(chunk.stamp_ns, chunk.period_ns, chunk.rotation)
        is_over = now_ns >= chunk.stamp_ns + len(chunk) * chunk.period_ns
        # an arm that stood still is where the policy saw it: there is nothing to make up for, and no reason to hurry
        is_at_start = late == "restart" or (late == "ledger" and not commanded.any())
        start_ns = max(now_ns, chunk.stamp_ns) if is_at_start and not is_over else chunk.stamp_ns
        return cls(chunk=chunk, start_ns=start_ns, owed=-commanded if late == "ledger" else NONE)

    def due(self, now_ns: int, execution_horizon: int, late: LateSteps) -> Due | None:
        """What to command for the period that begins now, or None: no chunk, not yet, used up, or done already.

        Args:
            now_ns: the present, in the clock of the observation stamps [ns].
            execution_horizon: rows from this one on are never executed.
        """
        if self.chunk is None:
            return None
        period_ns, rows = self.chunk.period_ns, min(execution_horizon, len(self.chunk))
        elapsed_ns, until_ns = (
            now_ns - self.start_ns,
            min(now_ns - self.start_ns + self.chunk.period_ns, rows * period_ns),
        )
        is_past = late != "ledger" and elapsed_ns - self.done_ns > JITTER * period_ns
        from_ns = elapsed_ns if is_past else self.done_ns
        if not 0 <= elapsed_ns < rows * period_ns or until_ns <= from_ns:
            return None
        delta = compose(self.owed, self._motion(self.chunk, from_ns, until_ns), self.chunk.rotation)
        middle = min((elapsed_ns + period_ns // 2) // period_ns, rows - 1)
        return Due(delta=delta, gripper=float(self.chunk.actions[middle, ARM_DIM]), until_ns=until_ns)

    def after(self, due: Due, commanded: Displacement, late: LateSteps) -> "Schedule":
        """The schedule once `commanded`, all of what was due or what limits left of it, was sent."""
        assert self.chunk is not None
        is_owed = late == "ledger" and commanded is not due.delta
        owed = remaining(due.delta, commanded, self.chunk.rotation) if is_owed else NONE
        return replace(self, done_ns=due.until_ns, owed=owed)

    @staticmethod
    def _motion(chunk: ActionChunk, from_ns: int, until_ns: int) -> Displacement:
        """The displacement of a part of the chunk's time, float64 [6]."""
        total, period_ns = NONE, chunk.period_ns
        for row in range(from_ns // period_ns, -(-until_ns // period_ns)):
            part_ns = min(until_ns, (row + 1) * period_ns) - max(from_ns, row * period_ns)
            step = chunk.actions[row, :ARM_DIM].astype(np.float64) * (part_ns / period_ns)
            total = compose(total, step, chunk.rotation)
        return total
