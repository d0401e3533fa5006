"""The curves that one looks at while a model trains."""

import json
import os
from pathlib import Path
from typing import Any

from vla_ros.errors import DatasetError

LOSSES = ("loss", "val_loss")
UNITS = {"mm": "error [mm]", "deg": "error [deg]", "percent": "[%]"}
"""Panels by what a validation figure's name ends with."""


def append_metrics(path: Path, row: dict[str, Any]) -> None:
    """Add one line of JSON, and wait until it is on disk: the checkpoint that follows counts on it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All rows.

    Raises:
        DatasetError: a line is no JSON; but for the last one, which a killed process may have begun.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise DatasetError(f"{path}: line {number}: expected JSON, got: {error}") from error
    return rows


def truncate_metrics(path: Path, step: int) -> None:
    """Forget rows newer than the checkpoint that is resumed from: they will be measured again."""
    if not path.exists():
        return
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    partial = path.with_suffix(".partial")
    try:
        partial.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def plot_metrics(metrics: Path, image: Path) -> None:
    """Draw losses and validation errors in physical units as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = read_metrics(metrics)
    names = list(dict.fromkeys(name for row in rows for name in row))
    panels = {"loss": [name for name in LOSSES if name in names]}
    for unit, title in UNITS.items():
        panels[title] = [name for name in names if name.startswith("val_") and name.endswith(f"_{unit}")]
    panels = {title: shown for title, shown in panels.items() if shown}
    figure, _ = pyplot.subplots(1, len(panels), figsize=(4.5 * len(panels), 3.6), constrained_layout=True)
    for axis, (title, shown) in zip(figure.axes, panels.items(), strict=True):
        for name in shown:
            points = [(row["step"], row[name]) for row in rows if name in row]
            label = name.removeprefix("val_").rsplit("_", 1)[0] if axis is not figure.axes[0] else name
            axis.plot(*zip(*points, strict=True), linewidth=1, label=label)
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    figure.axes[0].set_yscale("log")
    figure.savefig(image, dpi=110)
    pyplot.close(figure)
