"""The training benchmark as a table, as JSON and as a picture."""

import statistics
from pathlib import Path
from typing import Any

from vla_ros.bench import report
from vla_ros.bench.train import PHASES, TARGET_DATA, TARGET_TRAINER, TrainBenchmark
from vla_ros.train.config import TrainConfig

PACKAGES = ("torch", "transformers", "accelerate", "numpy")


def text(measured: TrainBenchmark) -> str:
    """A row per phase, then the ratios against what they are to reach."""
    rows = []
    for phase in PHASES:
        rates = measured.samples_per_s(phase)
        spread = report.percentiles([1e3 * time for times in measured.times_s[phase] for time in times])
        computes = phase != "data path"
        rows.append(
            (
                phase,
                f"{statistics.median(rates):.1f}",
                f"{min(rates):.1f} to {max(rates):.1f}",
                *(f"{spread[name]:.1f}" for name in ("p50", "p99", "max")),
                f"{measured.mfu(phase):.1%}" if computes else "-",
            )
        )
    headings = ("", "samples/s", "of the rounds", "p50 [ms]", "p99 [ms]", "max [ms]", "MFU")
    return "\n".join(
        [
            report.table(headings, rows),
            "",
            f"trainer / bare loop    {measured.trainer_over_bare:.3f}   to reach: {TARGET_TRAINER:g}",
            f"data path / trainer    {measured.data_over_trainer:.2f}    to reach: {TARGET_DATA:g}",
            f"{measured.flops / 1e9:.2f} GFLOP an update of {measured.batch_size} samples; "
            f"peak of the device {measured.peak / 1e9:.0f} GFLOP/s",
        ]
    )


def document(measured: TrainBenchmark, config: TrainConfig) -> dict[str, Any]:
    """See `report.document`; durations are of single updates."""
    figures: dict[str, Any] = {
        "trainer_over_bare": measured.trainer_over_bare,
        "data_over_trainer": measured.data_over_trainer,
        "flops_per_update": measured.flops,
        "peak_flops_per_s": measured.peak,
        "batch_size": measured.batch_size,
        "rounds": len(measured.times_s["trainer"]),
        "workers": config.data.workers,
    }
    units = {
        "trainer_over_bare": "1",
        "data_over_trainer": "1",
        "flops_per_update": "FLOP",
        "peak_flops_per_s": "FLOP/s",
        "batch_size": "samples",
        "rounds": "1",
        "workers": "processes",
    }
    for phase in PHASES:
        name = phase.replace(" ", "_")
        figures[f"{name}_samples_per_s"] = statistics.median(measured.samples_per_s(phase))
        units[f"{name}_samples_per_s"] = "samples/s"
        spread = report.percentiles([time for times in measured.times_s[phase] for time in times])
        figures |= {f"{name}_{part}_s": value for part, value in spread.items()}
        units |= {f"{name}_{part}_s": "s" for part in spread}
        if phase != "data path":
            figures[f"{name}_mfu"] = measured.mfu(phase)
            units[f"{name}_mfu"] = "1"
    return report.document(figures, units, [config.seed], PACKAGES) | {"config": config.name}


def plot(measured: TrainBenchmark, path: Path) -> None:
    """Every update's duration in the order of the run, one line a phase, rounds as bands."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(10, 4), constrained_layout=True)
    for phase in PHASES:
        times = [1e3 * time for times in measured.times_s[phase] for time in times]
        rate = statistics.median(measured.samples_per_s(phase))
        axis.plot(times, linewidth=1, label=f"{phase}: {rate:.0f} samples/s")
    steps = len(measured.times_s["trainer"][0])
    for number in range(1, len(measured.times_s["trainer"]), 2):
        axis.axvspan(number * steps, (number + 1) * steps, color="black", alpha=0.05, linewidth=0)
    axis.set_yscale("log")
    axis.set_xlabel("update of the phase; one band a round")
    axis.set_ylabel("duration [ms]")
    axis.set_title(
        f"trainer / bare loop {measured.trainer_over_bare:.2f}, data path / trainer {measured.data_over_trainer:.1f}"
    )
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
