"""From the traces of all processes to what each image's way took, the ticks' lateness and the stops."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHAIN = {
    "image": "transport",
    "admitted": "admission_decode",
    "begun": "queue",
    "prepared": "preprocess",
    "inferred": "inference",
    "chunk": "chunk_transport",
    "tick": "gate_wait",
    "received": "publish",
}
"""The marks of one image in order, and the stage that each one ends."""

STAGES = tuple(CHAIN.values())
WAIT = "gate_wait"

LOST = {
    "image": "on the way to policy_node",
    "admitted": "refused",
    "begun": "superseded by the next image",
    "prepared": "failed",
    "inferred": "failed",
    "chunk": "chunk lost or refused",
    "tick": "superseded by the next chunk",
    "received": "command lost",
}
"""Why an image led to no command, by the first mark that it lacks."""

Marks = dict[str, list[tuple[int, int]]]
"""Header stamp and time [ns] of every mark, by stage."""


def read_traces(paths: Iterable[Path]) -> Marks:
    """All marks of the files that `vla_ros.node.trace` wrote."""
    marks: Marks = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            mark = json.loads(line)
            marks.setdefault(mark["stage"], []).append((mark["stamp_ns"], mark["time_ns"]))
    return marks


def spread(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Percentiles of durations, interpolated linearly between the two nearest; None where there are no durations."""
    if not len(values):
        return dict.fromkeys(("p50", "p99", "p999", "max"))
    p50, p99, p999 = np.percentile(values, (50.0, 99.0, 99.9))
    return {"p50": float(p50), "p99": float(p99), "p999": float(p999), "max": float(values.max())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reactions:
    """What became of every image of a run.

    Attributes:
        stages_ms: float64 [frames that led to a command, stages], in the order of STAGES.
        lost: images that led to none, by reason.
    """

    stages_ms: NDArray[np.float64]
    lost: Mapping[str, int]

    @property
    def total_ms(self) -> NDArray[np.float64]:
        """From the image's stamp until the first command derived from it was received, float64 [frames]."""
        return np.asarray(self.stages_ms.sum(axis=1))

    @property
    def without_wait_ms(self) -> NDArray[np.float64]:
        """The same, less the wait for the gate's tick, float64 [frames]."""
        return self.total_ms - self.stages_ms[:, STAGES.index(WAIT)]

    @property
    def frames(self) -> int:
        """All images."""
        return len(self.stages_ms) + self.lost_frames

    @property
    def lost_frames(self) -> int:
        """Images that led to no command."""
        return sum(self.lost.values())


def reactions(marks: Marks, stamps: Sequence[int]) -> Reactions:
    """Follow the images with these stamps [ns] through all processes."""
    times = {stage: _first(marks.get(stage, [])) for stage in CHAIN if stage != "received"}
    times["received"] = _received(marks)
    rows: list[list[int]] = []
    lost: dict[str, int] = {}
    for stamp in stamps:
        missing = next((stage for stage in CHAIN if stamp not in times[stage]), None)
        if missing is None:
            rows.append([stamp, *(times[stage][stamp] for stage in CHAIN)])
        else:
            lost[LOST[missing]] = lost.get(LOST[missing], 0) + 1
    passed_ns = np.array(rows, np.int64).reshape(-1, len(CHAIN) + 1)
    return Reactions(stages_ms=np.diff(passed_ns, axis=1) / 1e6, lost=lost)


def _first(marks: Iterable[tuple[int, int]]) -> dict[int, int]:
    times: dict[int, int] = {}
    for stamp, time in marks:
        times.setdefault(stamp, time)
    return times


def _received(marks: Marks) -> dict[int, int]:
    """When the first command of each image was received: the command bears the time of the gate's tick."""
    commands = _first([*marks.get("command", []), *marks.get("stop", [])])
    ticks = _first(marks.get("tick", []))
    return {stamp: commands[tick] for stamp, tick in ticks.items() if tick in commands}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """How punctual the gate's ticks were.

    Attributes:
        lateness_ms: float64 [ticks]; of a tick that came so late that others were skipped, against the first of them.
        skipped: ticks that never came, because the one before was later than a period.
    """

    lateness_ms: NDArray[np.float64]
    skipped: int


def ticks(marks: Marks, period_ns: int, start_ns: int, end_ns: int) -> Ticks:
    """Lateness of the gate's ticks between two times [ns]."""
    pairs = [(due, time) for due, time in marks.get("due", []) if start_ns <= time < end_ns]
    due, time = np.array(pairs, np.int64).reshape(-1, 2).T
    skipped = np.maximum(np.rint(np.diff(due, prepend=due[:1] - period_ns) / period_ns) - 1, 0)
    return Ticks(lateness_ms=(time - due + skipped * period_ns) / 1e6, skipped=int(skipped.sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """What the emergency stop did.

    Attributes:
        delays_ms: float64 [stops that held], from pressing until the first zero command of all that came was received.
        missed: how often a command that moves left the gate later than one command period after the stop was pressed,
            or no zero came at all.
    """

    delays_ms: NDArray[np.float64]
    missed: int


def stops(marks: Marks, period_ns: int, presses: Sequence[tuple[int, int]]) -> Stops:
    """Judge the commands between each pressing and release [ns].

    A tick up to one period after the pressing may still move: the stop takes its time to the gate, too.
    """
    zeros, moves = (sorted(marks.get(stage, [])) for stage in ("stop", "command"))
    delays: list[float] = []
    for pressed, released in presses:
        late = [stamp for stamp, _ in moves if pressed + period_ns < stamp < released]
        last_move = max((stamp for stamp, _ in moves if stamp < released), default=0)
        held = [time for stamp, time in zeros if max(pressed, last_move) < stamp < released]
        if held and not late:
            delays.append((min(held) - pressed) / 1e6)
    return Stops(delays_ms=np.array(delays, np.float64), missed=len(presses) - len(delays))
