"""A replay for people and for programs: text, JSON and a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.action import ARM_DIM
from vla_ros.bench import report
from vla_ros.data.mcap_run import RecordedRun
from vla_ros.evaluation.replay import Replay
from vla_ros.evaluation.replay_comparison import (
    NS,
    POSITION_DIM,
    SHOWN_NAMES,
    Comparison,
    Pair,
    in_shown_units,
)
from vla_ros.node.policy_parameters import PolicyParameters


def text(recording: RecordedRun, comparison: Comparison, changes: Sequence[str]) -> str:
    """What was compared, how much of it is identical, and how far the rest is off.

    Args:
        changes: what is otherwise than when the run was recorded, a line each.
    """
    lines = [f"{comparison.identical} of {comparison.images} chunks identical to the last bit"]
    lines += left_out(recording)
    if comparison.is_identical:
        return "\n".join(lines)
    lines += [f"first difference: {comparison.first_difference}", *changes, "", _table(comparison)]
    return "\n".join(lines)


def left_out(recording: RecordedRun) -> list[str]:
    """What of a recording cannot be compared, or is not known, a line each."""
    lines = []
    unanswered = recording.images - len(recording.answers)
    if unanswered:
        lines.append(f"{unanswered} of {recording.images} images left out: the policy was busy or refused them")
    if recording.imageless:
        lines.append(f"{recording.imageless} chunks left out: their images were not recorded")
    if not recording.bundles:
        lines.append("which bundle ran was not recorded: its diagnostics are missing")
    return lines


def _table(comparison: Comparison) -> str:
    rows = []
    for name, (mean, largest) in comparison.magnitudes().items():
        dimension, _, unit = name.partition("_")
        rows.append((dimension, f"{mean:.3g} {unit}".rstrip(), f"{largest:.3g} {unit}".rstrip()))
    count = len(comparison.differences)
    flips = f"gripper: open instead of closed or closed instead of open in {comparison.gripper_flips} of {count} rows"
    lines = [report.table(("difference", "mean", "max"), rows), flips]
    if comparison.other_sizes:
        lines.append(f"{comparison.other_sizes} chunks have another number of rows; those that both have are compared")
    return "\n".join(lines)


def document(
    recording: RecordedRun, comparison: Comparison, replay: Replay, present: Mapping[str, str]
) -> dict[str, Any]:
    """What `--json` writes; `present` is what the replay was made with."""
    figures = {
        "images": comparison.images,
        "identical": comparison.identical,
        "first_difference": comparison.first_difference,
        "rows": len(comparison.differences),
        "mean_difference": {name: mean for name, (mean, _) in comparison.magnitudes().items()},
        "max_difference": {name: largest for name, (_, largest) in comparison.magnitudes().items()},
        "gripper_flips": comparison.gripper_flips,
        "other_chunk_sizes": comparison.other_sizes,
        "images_without_chunk": recording.images - len(recording.answers),
        "chunks_without_image": recording.imageless,
        "bundle_sha256": replay.bundle_sha256,
        "recorded_bundle_sha256": list(recording.bundles),
        "recorded_with": recording.made_with,
        "replayed_with": dict(present),
    }
    units = dict.fromkeys([name for name, value in figures.items() if isinstance(value, int)], "1")
    return report.document(figures, units, seeds=[], packages=("numpy", "mcap"))


def changes(recording: RecordedRun, policy: PolicyParameters, present: Mapping[str, str]) -> list[str]:
    """Engine, versions and processor that are otherwise than when the run was recorded, a line each."""
    lines = []
    if recording.engines and recording.engines != (policy.engine,):
        lines.append(f"engine: recorded with {', '.join(recording.engines)}, replayed with {policy.engine}")
    for name, recorded in recording.made_with.items():
        if recorded != present.get(name, recorded):
            lines.append(f"{name}: recorded with {recorded}, replayed with {present[name]}")
    return lines


def plot(pairs: Sequence[Pair], path: Path) -> None:
    """The first row of every chunk, recorded and replayed, over the time of its image."""
    from matplotlib.figure import Figure

    start_ns = pairs[0].recorded.stamp_ns
    times_s = [(pair.recorded.stamp_ns - start_ns) / NS for pair in pairs]
    recorded, replayed = (in_shown_units(np.stack(rows)) for rows in zip(*(_first_rows(p) for p in pairs), strict=True))
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = {"position [mm]": slice(0, POSITION_DIM), "rotation [deg]": slice(POSITION_DIM, ARM_DIM)}
    axes = figure.subplots(3, 1, sharex=True)
    for panel, (label, part) in zip(axes, {**panels, "gripper": slice(ARM_DIM, None)}.items(), strict=True):
        for k in range(len(SHOWN_NAMES))[part]:
            name = SHOWN_NAMES[k].partition("_")[0]
            panel.plot(times_s, recorded[:, k], color=f"C{k}", linewidth=3, alpha=0.3, label=f"{name} recorded")
            panel.plot(times_s, replayed[:, k], color=f"C{k}", linewidth=1, label=f"{name} replayed")
        panel.set_ylabel(label)
        panel.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
        panel.grid(alpha=0.3)
    axes[0].set_title("first row of every chunk")
    axes[-1].set_ylim(-0.05, 1.05)
    axes[-1].set_xlabel("time of the image [s]")
    figure.savefig(path, dpi=100)


def _first_rows(pair: Pair) -> tuple[Any, Any]:
    recorded, replayed = pair.rows()
    return recorded[0], replayed[0]
