"""The reaches as a table, as JSON and as a picture."""

from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.bench import report
from vla_ros.bench.late_steps import CHUNK_SIZE, CLOSE_M, GOAL_M, MODES, RATE_HZ, TICKS, Reach

SHOWN_TICKS = 5
"""Latency of the reaches that are drawn over time: 250 ms."""
COLORS = {"ledger": "C0", "skip": "C1", "restart": "C3"}


def text(reaches: list[Reach]) -> str:
    """Arrival and overshoot, a row per latency."""
    rows = []
    for latency in sorted({each.latency for each in reaches}):
        by_mode = {each.mode: each for each in reaches if each.latency == latency}
        cells = [f"{_arrival(by_mode[mode])}, {by_mode[mode].overshoot_mm:.0f} mm" for mode in MODES]
        rows.append((f"{by_mode[MODES[0]].latency_ms:g} ms", *cells))
    return "\n".join(
        [
            report.table(("latency", *MODES), rows),
            "",
            f"seconds to within {CLOSE_M * 1e3:g} mm of a goal {GOAL_M * 1e3:g} mm away, and overshoot; chunks of "
            f"{CHUNK_SIZE} rows at {RATE_HZ:g} Hz",
        ]
    )


def _arrival(one: Reach) -> str:
    return f"{one.arrival_s:.2f} s" if np.isfinite(one.arrival_s) else f"> {TICKS / RATE_HZ:g} s"


def document(reaches: list[Reach]) -> dict[str, Any]:
    """What `--json` writes; an arrival that never came is null."""
    rows = [
        {
            "late_steps": each.mode,
            "latency_ms": each.latency_ms,
            "arrival_s": each.arrival_s if np.isfinite(each.arrival_s) else None,
            "overshoot_mm": each.overshoot_mm,
        }
        for each in reaches
    ]
    return report.document({"rows": rows}, {}, seeds=[], packages=("numpy",))


def plot(reaches: list[Reach], path: Path) -> None:
    """Positions over time at one latency, and the time to arrive over the latency."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    over_time, over_latency = figure.subplots(1, 2)
    times_s = np.arange(TICKS + 1) / RATE_HZ
    without = next(each for each in reaches if each.latency == 0)
    over_time.plot(times_s, without.positions_m * 1e3, color="black", linewidth=4, alpha=0.2, label="no latency")
    for mode in MODES:
        own = [each for each in reaches if each.mode == mode]
        shown = next(each for each in own if each.latency == SHOWN_TICKS)
        over_time.plot(times_s, shown.positions_m * 1e3, color=COLORS[mode], label=mode)
        latencies, arrivals = zip(*((each.latency_ms, each.arrival_s) for each in own), strict=True)
        over_latency.plot(latencies, arrivals, "o-", color=COLORS[mode], label=mode, alpha=0.8)
    over_time.axhline(GOAL_M * 1e3, color="gray", linewidth=0.5)
    over_time.set(
        title=f"A reach with a policy {SHOWN_TICKS / RATE_HZ * 1e3:g} ms late",
        xlabel="time [s]",
        ylabel="position [mm]",
        xlim=(0, 3),
    )
    over_latency.set(
        title=f"Time until within {CLOSE_M * 1e3:g} mm, chunks of {CHUNK_SIZE / RATE_HZ * 1e3:g} ms",
        xlabel="latency [ms]",
        ylabel="arrival [s]",
        ylim=(0, None),
    )
    for axes in (over_time, over_latency):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
