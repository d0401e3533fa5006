"""What the arm was commanded to do since any instant: late chunks owe the rest, and nothing is done twice."""

from dataclasses import dataclass

from vla_ros.action import Rotation
from vla_ros.control.displacement import NONE, Displacement, compose

JITTER = 0.25
"""How late a tick may be to count as on time, as a part of itself: the command before it lasts until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplacementLedger:
    """The commands of the last ticks.

    Attributes:
        entries: tick [ns] and displacement float64 [6] of each command that moved, oldest first. The arm makes it at an
            even speed, until the next tick.
    """

    entries: tuple[tuple[int, Displacement], ...] = ()

    def after(self, tick_ns: int, delta: Displacement, keep_ns: int | None = None) -> "DisplacementLedger":
        """The ledger with one more command.

        Args:
            delta: float64 [6], commanded at `tick_ns`.
            keep_ns: how far back it will be asked; older commands are forgotten. None: none are [ns].
        """
        kept = self.entries
        if keep_ns is not None:
            kept = tuple(entry for entry in kept if entry[0] > tick_ns - keep_ns)
        return DisplacementLedger(entries=(*kept, (tick_ns, delta)) if delta.any() else kept)

    def since(self, instant_ns: int, length_ns: int, rotation: Rotation) -> Displacement:
        """What was commanded for after `instant_ns`; of a tick of `length_ns` that it is in, the part behind it."""
        total = NONE
        for tick_ns, delta in self.entries:
            part = min(max((tick_ns + length_ns - instant_ns) / length_ns, 0.0), 1.0)
            total = compose(total, part * delta, rotation)
        return total

    def idle_ns(self, instant_ns: int, now_ns: int, length_ns: int) -> int:
        """For how much of the time from `instant_ns` to `now_ns` nothing was commanded, in ticks of `length_ns`."""
        idle_ns, until_ns, is_moving, jitter_ns = 0, instant_ns, False, JITTER * length_ns
        for tick_ns in (*(tick for tick, _ in self.entries), now_ns):
            gap_ns = tick_ns - until_ns
            if gap_ns > (jitter_ns if is_moving else 0):
                idle_ns += gap_ns
            is_moving = tick_ns + length_ns + jitter_ns > until_ns
            until_ns = max(until_ns, tick_ns + length_ns)
        return idle_ns
