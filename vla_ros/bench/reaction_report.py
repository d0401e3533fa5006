"""The reaction benchmark as a table, as JSON and as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.bench import report
from vla_ros.bench.reaction import CAMERA_RATE_HZ, COMMAND_RATE_HZ, Case, Measured
from vla_ros.bench.reaction_stages import STAGES, WAIT, spread
from vla_ros.evaluation.provenance import machine, utc_now

BUSY = 0.1
"""Cores that others use, from which on the report warns."""
PERCENTILES = ("p50", "p99", "p999", "max")
PACKAGES = ("rclpy", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure that is to be reached on two cores with a policy that answers at once.

    Attributes:
        what: with its unit.
        value: measured, or None.
        limit: the most.
    """

    what: str
    value: float | None
    limit: float

    @property
    def is_reached(self) -> bool | None:
        """None if it was not measured."""
        return None if self.value is None else self.value <= self.limit


def targets(measured: Measured) -> list[Target]:
    """What is to be reached in this case."""
    case, late = measured.case, spread(measured.ticks.lateness_ms)
    found = []
    if case.bundle is None and case.load == "idle" and case.contract.camera.width == 640:
        reaction = spread(measured.reactions.without_wait_ms)
        found += [
            Target(what="image to command, without the wait, p50 [ms]", value=reaction["p50"], limit=4.0),
            Target(what="image to command, without the wait, p99 [ms]", value=reaction["p99"], limit=10.0),
        ]
    if case.load != "neighbour":
        limit = 1.0 if case.load == "idle" and case.bundle is None else 5.0
        found.append(Target(what="lateness of a tick, p99 [ms]", value=late["p99"], limit=limit))
    if len(measured.stops.delays_ms) or measured.stops.missed:
        found.append(Target(what="missed stops", value=measured.stops.missed, limit=0.0))
    return found


def text(results: Sequence[Measured]) -> str:
    """Every case with its stages, then the figures that are to be reached."""
    rows = [
        (result.case.name, target.what, _number(target.value), f"<= {target.limit:g}", _verdict(target))
        for result in results
        for target in targets(result)
    ]
    reached = report.table(("case", "figure", "measured", "to reach", ""), rows)
    return "\n\n".join([*map(_case, results), reached, _circumstances(results[0].case)])


def _circumstances(case: Case) -> str:
    where = machine()
    return (
        f"measured on {where['processor']}, {where['cores']} cores, {where['system']}, {utc_now()}\n"
        f"ran with {case.placement.text}"
    )


def _case(measured: Measured) -> str:
    reactions = measured.reactions
    rows = [(name, *_cells(reactions.stages_ms[:, column])) for column, name in enumerate(STAGES)]
    rows += [
        ("image to command", *_cells(reactions.total_ms)),
        (f"  without {WAIT}", *_cells(reactions.without_wait_ms)),
        ("lateness of a tick", *_cells(measured.ticks.lateness_ms)),
        ("stop to zero command", *_cells(measured.stops.delays_ms)),
    ]
    table = report.table((f"{measured.case.name} [ms]", "p50", "p99", "p99.9", "max"), rows)
    return "\n".join([table, *_remarks(measured)])


def _cells(values_ms: Any) -> list[str]:
    found = spread(values_ms)
    return [_number(found[name]) for name in PERCENTILES]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _remarks(measured: Measured) -> list[str]:
    reactions, stops = measured.reactions, measured.stops
    lost = ", ".join(f"{count} {why}" for why, count in reactions.lost.items())
    lines = [
        f"{reactions.frames} images, {reactions.lost_frames} led to no command" + (f" ({lost})" if lost else ""),
        f"{len(measured.ticks.lateness_ms)} ticks, {measured.ticks.skipped} skipped; "
        f"{len(stops.delays_ms) + stops.missed} stops, {stops.missed} missed",
    ]
    if measured.interruptions:
        lines.append(f"the gate stopped {len(measured.interruptions)} times, first: {measured.interruptions[0]}")
    if measured.others_cores is not None and measured.others_cores > BUSY:
        lines.append(
            f"other processes used {measured.others_cores:.1f} cores meanwhile: measure again when the machine is quiet"
        )
    return lines


def _verdict(target: Target) -> str:
    return {None: "not measured", True: "reached", False: "missed"}[target.is_reached]


def document(results: Sequence[Measured]) -> dict[str, Any]:
    """The first case's figures at the top, and all cases in `cases`; a figure without any measurement is null."""
    cases = [_figures(result) for result in results]
    base = report.document({}, {"*_ms": "ms", "*_hz": "Hz"}, [results[0].case.seed], PACKAGES)
    return base | cases[0] | {"cases": cases}


def _figures(measured: Measured) -> dict[str, Any]:
    reactions, ticks, stops, case = measured.reactions, measured.ticks, measured.stops, measured.case
    total = {f"{name}_ms": value for name, value in spread(reactions.total_ms).items()}
    return {
        "case": case.name,
        "frames": reactions.frames,
        "lost_frames": reactions.lost_frames,
        **total,
        "stages_ms": {name: spread(reactions.stages_ms[:, column]) for column, name in enumerate(STAGES)},
        "without_tick_wait_ms": spread(reactions.without_wait_ms),
        "lost": dict(reactions.lost),
        "ticks": len(ticks.lateness_ms),
        "tick_lateness_ms": spread(ticks.lateness_ms),
        "skipped_ticks": ticks.skipped,
        "stops": len(stops.delays_ms) + stops.missed,
        "missed_stops": stops.missed,
        "stop_ms": spread(stops.delays_ms),
        "interruptions": list(measured.interruptions),
        "is_whole": measured.is_whole,
        "others_cores": measured.others_cores,
        "targets": [
            {"what": target.what, "value": target.value, "limit": target.limit, "is_reached": target.is_reached}
            for target in targets(measured)
        ],
        **_setting(case),
    }


def _setting(case: Case) -> dict[str, Any]:
    camera, placement = case.contract.camera, case.placement
    return {
        "width": camera.width,
        "height": camera.height,
        "load": case.load,
        "policy": case.contract.name,
        "camera_rate_hz": CAMERA_RATE_HZ,
        "command_rate_hz": COMMAND_RATE_HZ,
        "control_rate_hz": case.contract.action.control_rate_hz,
        "chunk_size": case.contract.chunk_size,
        "placement": {
            "gate_priority": placement.gate_priority,
            "policy_priority": placement.policy_priority,
            "inference_priority": 0 if case.is_computing else placement.inference_priority,
            "remark": placement.remark,
        },
    }


def plot(results: Sequence[Measured], path: Path) -> None:
    """Left, how often an image takes longer than a time; right, the median of every stage."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    tails, medians = figure.subplots(1, 2, width_ratios=(1, 1.15))
    for result in results:
        times = np.sort(result.reactions.without_wait_ms)
        tails.step(times, 1 - np.arange(len(times)) / max(1, len(times)), where="post", label=result.case.name)
    scale = "log" if any(len(result.reactions.total_ms) for result in results) else "linear"
    tails.set(
        title="Image to command, without the wait for the tick",
        xlabel="t [ms]",
        ylabel="share of images that take longer",
        xscale=scale,
        yscale=scale,
    )
    if scale == "log":
        tails.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        tails.xaxis.set_major_formatter(ScalarFormatter())
        tails.xaxis.set_minor_formatter(NullFormatter())
    tails.legend(fontsize=8)
    tails.grid(alpha=0.3, which="both")
    starts = np.zeros(len(results))
    for column, name in enumerate(STAGES):
        values = np.array([spread(result.reactions.stages_ms[:, column])["p50"] or 0.0 for result in results])
        color = "lightgray" if name == WAIT else None
        medians.barh(range(len(results)), values, left=starts, label=name.replace("_", " "), color=color)
        starts += values
    medians.set(title="Medians of the stages", xlabel="[ms]")
    medians.set_yticks(range(len(results)), [result.case.name for result in results])
    medians.invert_yaxis()
    medians.grid(axis="x", alpha=0.3)
    figure.legend(*medians.get_legend_handles_labels(), loc="outside lower center", ncols=len(STAGES), fontsize=8)
    figure.savefig(path, dpi=100)
