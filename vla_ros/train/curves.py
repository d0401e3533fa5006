"""The loss curve that one looks at while a policy trains."""

import json
from pathlib import Path
from typing import Any


def append_metrics(path: Path, row: dict[str, Any]) -> None:
    """Add one line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def truncate_metrics(path: Path, step: int) -> None:
    """Forget rows newer than the checkpoint that is resumed from: they will be measured again."""
    if path.exists():
        rows = [line for line in path.read_text(encoding="utf-8").splitlines() if json.loads(line)["step"] <= step]
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def plot_metrics(metrics: Path, image: Path) -> None:
    """Draw training loss and validation errors in physical units as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    panels = {
        "loss": ("loss",),
        "translation error [mm]": ("val_translation_mm",),
        "rotation error [deg]": ("val_rotation_deg",),
        "gripper accuracy [%]": ("val_gripper_percent",),
    }
    figure, axes = pyplot.subplots(1, len(panels), figsize=(16, 3.6), constrained_layout=True)
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            if points:
                axis.plot(*zip(*points, strict=True), linewidth=1)
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    figure.savefig(image, dpi=110)
    pyplot.close(figure)
