"""The inference benchmark as a table, as JSON and as a picture."""

import importlib.metadata
from pathlib import Path
from typing import Any

from vla_ros.bench import report
from vla_ros.bench.inference import InferenceBenchmark, RowResult
from vla_ros.bench.inference_rows import COMPILE_ROW, EAGER_ROW
from vla_ros.bench.inference_targets import Target, targets
from vla_ros.bundle import GIB

PACKAGES = ("torch", "transformers", "onnxruntime", "openvino", "numpy")
BUSY = 0.1
"""Cores that others use, from which on the report warns."""


def text(measured: InferenceBenchmark) -> str:
    """A row per engine, the stages, the machine, then the figures that are to be reached."""
    return "\n\n".join([_rows(measured), _stages(measured), _machine(measured), _targets(measured)])


def _rows(measured: InferenceBenchmark) -> str:
    headings = (
        measured.name, "median [ms]", "p99 [ms]", "max [ms]", "x eager", "x compile", "of roofline",
        "max error", "peak [GiB]", "resident [GiB]",
    )  # fmt: skip
    rows = []
    for result in measured.rows:
        spread = report.percentiles(result.times_s)
        rows.append(
            (
                result.row.name,
                *(f"{1e3 * spread[name]:.1f}" for name in ("p50", "p99", "max")),
                *(_ratio(measured, result, base) for base in (measured.of(EAGER_ROW), measured.of(COMPILE_ROW))),
                _share(measured.roofline_fraction(result)),
                "-" if result.max_action_error is None else f"{result.max_action_error:.5f}",
                f"{result.memory.peak:.2f}",
                f"{result.memory.resident:.2f}",
            )
        )
    return report.table(headings, rows)


def _ratio(measured: InferenceBenchmark, result: RowResult, base: RowResult | None) -> str:
    return "-" if base is None else f"{measured.speed_up(result, base):.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _stages(measured: InferenceBenchmark) -> str:
    """Medians; rows that are one piece have none."""
    staged = [result for result in measured.rows if result.stages_s]
    if not staged:
        return "no row has stages"
    names = list(staged[0].stages_s)
    rows = [
        (result.row.name, *(f"{1e3 * report.percentiles(result.stages_s[name])['p50']:.3f}" for name in names))
        for result in staged
    ]
    return report.table(("stages, median [ms]", *names), rows)


def _machine(measured: InferenceBenchmark) -> str:
    best = measured.best
    lines = [
        f"machine at best in {len(measured.limits)} rounds, {measured.threads} threads: reads "
        f"{best.bandwidth / 1e9:.1f} GB/s, multiplies {best.fp32_flops / 1e12:.2f} (fp32), "
        f"{best.bf16_flops / 1e12:.2f} (bf16), {best.int8_ops / 1e12:.2f} (int8) T(FL)OP/s"
    ]
    for result in measured.rows:
        least_s = measured.roofline_s(result)
        if least_s is not None:
            bound = "memory" if result.work.is_memory_bound(best, result.row.precision) else "products"
            lines.append(
                f"  {result.row.name}: {result.work.flops / 1e9:.1f} GFLOP, {result.work.weight_bytes / GIB:.2f} GiB "
                f"of weights, so at least {1e3 * least_s:.1f} ms ({bound})"
            )
    others = measured.others_cores
    if others is not None and others > BUSY:
        lines.append(
            f"  other processes used {others:.1f} cores meanwhile: times are too long, torch's most of all; measure "
            "again when the machine is quiet"
        )
    return "\n".join(lines)


def _targets(measured: InferenceBenchmark) -> str:
    rows = [
        (target.what, _shown(target.value, target), _limit(target), _verdict(target), target.row or "-")
        for target in targets(measured)
    ]
    return report.table(("figure", "measured", "to reach (with AMX)", "", "row"), rows)


def _shown(value: float | None, target: Target) -> str:
    unit = "" if target.unit == "1" else f" {target.unit}"
    digits = 3 if target.unit == "model units" else 2
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def _limit(target: Target) -> str:
    return f"{'<=' if target.is_most else '>='} {_shown(target.limit, target)}"


def _verdict(target: Target) -> str:
    return {None: "not measured", True: "reached", False: "missed"}[target.is_reached]


def document(measured: InferenceBenchmark) -> dict[str, Any]:
    """See `report.document`; `rows` stand beside the figures, with their own units."""
    best = measured.best
    figures: dict[str, Any] = {
        "rounds": len(measured.limits),
        "threads": measured.threads,
        "bandwidth": best.bandwidth,
        "fp32_rate": best.fp32_flops,
        "bf16_rate": best.bf16_flops,
        "int8_rate": best.int8_ops,
        "others_cores": measured.others_cores,
    }
    units = {
        "rounds": "1",
        "threads": "1",
        "bandwidth": "bytes/s",
        "fp32_rate": "FLOP/s",
        "bf16_rate": "FLOP/s",
        "int8_rate": "OP/s",
        "others_cores": "cores",
    }
    for target in targets(measured):
        figures[target.name], units[target.name] = target.value, target.unit
    packages = [name for name in PACKAGES if _is_installed(name)]
    seeds = [] if measured.seed is None else [measured.seed]
    return report.document(figures, units, seeds, packages) | {
        "policy": measured.name,
        "rows": [_row(measured, result) for result in measured.rows],
        "row_units": {"*_s": "s", "*_gib": "GiB", "flops": "FLOP", "*_error": "model units", "*_fraction": "1"},
        "targets": [
            {
                "name": target.name,
                "what": target.what,
                "value": target.value,
                "limit": target.limit,
                "is_most": target.is_most,
                "is_reached": target.is_reached,
                "row": target.row,
            }
            for target in targets(measured)
        ],
    }


def _row(measured: InferenceBenchmark, result: RowResult) -> dict[str, Any]:
    spread = report.percentiles(result.times_s)
    eager, compiled = measured.of(EAGER_ROW), measured.of(COMPILE_ROW)
    return {
        "engine": result.row.engine,
        "precision": result.row.precision,
        "median_s": spread["p50"],
        "p99_s": spread["p99"],
        "max_s": spread["max"],
        "peak_rss_gib": result.memory.peak,
        "resident_gib": result.memory.resident,
        "anonymous_gib": result.memory.anonymous,
        "roofline_s": measured.roofline_s(result),
        "roofline_fraction": measured.roofline_fraction(result),
        "roofline_fraction_of_rounds": measured.roofline_fraction_of_rounds(result),
        "max_action_error": result.max_action_error,
        "speed_up_over_eager": None if eager is None else measured.speed_up(result, eager),
        "speed_up_over_compile": None if compiled is None else measured.speed_up(result, compiled),
        "flops": result.work.flops,
        "weight_gib": result.work.weight_bytes / GIB,
        "stages_s": {name: report.percentiles(times) for name, times in result.stages_s.items()},
        "times_s": list(result.times_s),
    }


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def plot(measured: InferenceBenchmark, path: Path) -> None:
    """A bar a row, its median, with a whisker to p99, cut where it is far off; a red mark where the roofline is."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ordered = sorted(measured.rows, key=lambda result: -result.median_s)
    longest_ms = 1e3 * ordered[0].median_s
    figure, axis = pyplot.subplots(figsize=(10, 1.6 + 0.55 * len(ordered)), constrained_layout=True)
    for place, result in enumerate(ordered):
        spread = {name: 1e3 * value for name, value in report.percentiles(result.times_s).items()}
        axis.barh(place, spread["p50"], color="silver" if result.row.is_torch else "tab:blue", height=0.6)
        end = min(spread["p99"], 1.2 * longest_ms)
        axis.plot([spread["p50"], end], [place, place], color="black", linewidth=1)
        axis.plot(end, place, marker="|" if end == spread["p99"] else ">", color="black", markersize=7)
        least_s, share = measured.roofline_s(result), ""
        if least_s is not None:
            axis.plot([1e3 * least_s] * 2, [place - 0.38, place + 0.38], color="tab:red", linewidth=2.5)
            share = f"; {_share(measured.roofline_fraction(result))} of roofline"
        digits = 0 if spread["p50"] >= 100 else 1
        label = f"{spread['p50']:.{digits}f} ms, p99 {spread['p99']:.{digits}f}{share}"
        axis.annotate(label, (end, place), va="center", fontsize=9, xytext=(7, 0), textcoords="offset points")
    axis.plot([], [], color="tab:red", linewidth=2.5, label="roofline: the least time on this machine")
    axis.plot([], [], color="black", marker="|", label="p99")
    axis.set_yticks(range(len(ordered)), [result.row.name for result in ordered])
    axis.set_xlim(0, 1.8 * longest_ms)
    axis.set_xlabel("one forward pass, observation to model outputs [ms]")
    axis.set_title(f"{measured.name}, {measured.threads} threads, {len(measured.limits)} rounds")
    axis.grid(axis="x", alpha=0.3)
    axis.legend(loc="upper right", framealpha=1)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
