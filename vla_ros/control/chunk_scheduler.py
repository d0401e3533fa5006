"""Which part of a chunk is due now: by time, so that a late chunk is never played late."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from vla_ros.action import ARM_DIM, ActionChunk, Rotation
from vla_ros.control.displacement import NONE, Displacement, compose, remaining
from vla_ros.control.displacement_ledger import JITTER, DisplacementLedger

LateSteps = Literal["ledger", "skip", "restart"]
"""What becomes of the rows that are past when their chunk arrives.

ledger: their displacement is made up for, less what was commanded since the observation, as fast as the limits allow.
An arm that stood still is where it was seen: time in which nothing was commanded does not count as past.
skip: it is lost. restart: all rows run from the first tick on, whatever was commanded since.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What the tick is to command.

    Attributes:
        motion: float64 [6], m and rad: the rows' own displacement during the tick.
        owed: float64 [6], what is past and was not commanded, less what was; to be made up for before, within limits.
        rotation: how both read their rotations.
        gripper: opening of the row in the middle of the tick.
        until_ns: where in the chunk's time the tick ends [ns].
        lasts_ns: how much of the tick is the chunk's: all, but at its end [ns].
    """

    motion: Displacement
    owed: Displacement
    rotation: Rotation
    gripper: float
    until_ns: int
    lasts_ns: int

    @property
    def delta(self) -> Displacement:
        """All of it, float64 [6]."""
        return self.with_owed(self.owed)

    def with_owed(self, part: Displacement) -> Displacement:
        """The motion with a part of what is owed, float64 [6]."""
        return compose(part, self.motion, self.rotation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The chunk in execution.

    Its displacement is spread evenly over each row's period: row k is due during
    [start_ns + k * period, start_ns + (k + 1) * period), and ticks need not fall onto these borders.

    Attributes:
        chunk: the newest admitted chunk, or None.
        start_ns: when its first row is due, which its first tick decides; None before that [ns].
        done_ns: how much of the chunk's time is dealt with: commanded, or past; it never goes back [ns].
        owed: float64 [6], what is still to be commanded of that time; what was commanded too much is owed back.
    """

    chunk: ActionChunk | None = None
    start_ns: int | None = None
    done_ns: int = 0
    owed: Displacement = field(default_factory=lambda: NONE)

    def is_newer(self, chunk: ActionChunk) -> bool:
        """Whether `chunk` comes from a later observation than the one in execution."""
        return self.chunk is None or chunk.stamp_ns > self.chunk.stamp_ns

    def started(self, now_ns: int, rows: int, late: LateSteps, ledger: DisplacementLedger, tick_ns: int) -> "Schedule":
        """The schedule at a tick, which is the chunk's first one unless it has started already.

        A chunk whose observation is as old as its rows last is over, whatever became of its time.

        Args:
            now_ns: the present, in the clock of the observation stamps [ns].
            rows: of the chunk that are executed, at most.
            ledger: of the time of so many rows at least.
            tick_ns: from one command to the next [ns].
        """
        if self.chunk is None or self.start_ns is not None or now_ns < self.chunk.stamp_ns:
            return self
        stamp_ns, period_ns = self.chunk.stamp_ns, self.chunk.period_ns
        if late == "skip" or now_ns - stamp_ns >= min(rows, len(self.chunk)) * period_ns:
            return replace(self, start_ns=stamp_ns)
        if late == "restart":
            return replace(self, start_ns=now_ns)
        owed = -ledger.since(stamp_ns, tick_ns, self.chunk.rotation)
        return replace(self, start_ns=stamp_ns + ledger.idle_ns(stamp_ns, now_ns, tick_ns), owed=owed)

    def due(self, now_ns: int, rows: int, late: LateSteps, tick_ns: int) -> Due | None:
        """What to command for the tick that begins now, or None: no chunk, not yet, used up, or done already."""
        if self.chunk is None or self.start_ns is None:
            return None
        period_ns, rows = self.chunk.period_ns, min(rows, len(self.chunk))
        elapsed_ns = now_ns - self.start_ns
        until_ns = min(elapsed_ns + tick_ns, rows * period_ns)
        is_past = late != "ledger" and elapsed_ns - self.done_ns > JITTER * tick_ns
        from_ns = elapsed_ns if is_past else self.done_ns
        if not 0 <= elapsed_ns < rows * period_ns or until_ns <= from_ns:
            return None
        own_ns = max(from_ns, elapsed_ns)
        past = self._motion(self.chunk, from_ns, own_ns)
        middle = min((elapsed_ns + tick_ns // 2) // period_ns, rows - 1)
        return Due(
            motion=self._motion(self.chunk, own_ns, until_ns),
            owed=compose(self.owed, past, self.chunk.rotation),
            rotation=self.chunk.rotation,
            gripper=float(self.chunk.actions[middle, ARM_DIM]),
            until_ns=until_ns,
            lasts_ns=until_ns - elapsed_ns,
        )

    def after(self, due: Due, commanded: Displacement, late: LateSteps) -> "Schedule":
        """The schedule once `commanded`, all of what was due or what limits left of it, was sent."""
        delta = due.delta
        is_owed = late == "ledger" and not np.array_equal(commanded, delta)
        owed = remaining(delta, commanded, due.rotation) if is_owed else NONE
        return replace(self, done_ns=due.until_ns, owed=owed)

    @staticmethod
    def _motion(chunk: ActionChunk, from_ns: int, until_ns: int) -> Displacement:
        """The displacement of a part of the chunk's time, float64 [6]."""
        total, period_ns = NONE, chunk.period_ns
        for row in range(from_ns // period_ns, -(-until_ns // period_ns)):
            part_ns = min(until_ns, (row + 1) * period_ns) - max(from_ns, row * period_ns)
            step = np.asarray(chunk.actions[row, :ARM_DIM], np.float64) * (part_ns / period_ns)
            total = compose(total, step, chunk.rotation)
        return total
