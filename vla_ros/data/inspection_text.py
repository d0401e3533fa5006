"""An inspection as plain text, 100 columns wide."""

import textwrap
from itertools import pairwise

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.data.inspection import Inspection
from vla_ros.data.inspection_histogram import Histogram
from vla_ros.data.inspection_warnings import Finding

WIDTH = 100
SPARKS = " ▁▂▃▄▅▆▇█"
SPARK_BARS = 20
SHOWN_INSTRUCTIONS = 12
SHOWN_LEFT_OUT = 20


def text_report(inspection: Inspection, findings: list[Finding]) -> str:
    """Figures, actions, instructions, what was left out, and at last the warnings."""
    parts = [
        _figures(inspection),
        _actions(inspection),
        _instructions(inspection),
        *([_left_out(inspection)] if inspection.left_out else []),
        _warnings(findings),
    ]
    return "\n\n".join(parts)


def sparkline(histogram: Histogram, bars: int = SPARK_BARS) -> str:
    """The histogram in one line of block characters; small counts stay visible."""
    bars = min(bars, len(histogram.counts))
    edges = [len(histogram.counts) * index // bars for index in range(bars + 1)]
    counts = [sum(histogram.counts[begin:end]) for begin, end in pairwise(edges)]
    top = max(counts)
    heights = [0 if not count else max(1, round((count / top) ** 0.5 * (len(SPARKS) - 1))) for count in counts]
    return "".join(SPARKS[height] for height in heights)


def _figures(inspection: Inspection) -> str:
    lengths = [episode.steps for episode in inspection.episodes]
    read = len(lengths) + len(inspection.left_out)
    some = "" if read == inspection.total else f" ({read} of {inspection.total} were read)"
    begin_open = sum(episode.begins_open for episode in inspection.grasping)
    rows = {
        "data set": inspection.source,
        "format": inspection.format,
        "episodes": f"{len(lengths)}{some}",
        "steps": f"{inspection.steps}, {inspection.duration} at {inspection.action.control_rate_hz:g} Hz",
        "length": f"{min(lengths)} / {inspection.median_length:g} / {max(lengths)} steps (least / median / most)  "
        f"{sparkline(inspection.lengths)}",
        "images": ", ".join(f"{width} x {height} px" for width, height in inspection.images.sizes) or "none read",
        "actions": f"deltas in frame {inspection.action.frame_id}, rotation {inspection.action.rotation}",
        "gripper": f"open in {100 * inspection.open_share:.0f} % of the steps, {inspection.gripper_changes:.1f} "
        f"changes an episode; {begin_open} of {len(inspection.grasping)} that use it begin open",
    }
    return "\n".join(f"{name:<10}{value}" for name, value in rows.items())


def _actions(inspection: Inspection) -> str:
    statistics = inspection.statistics
    lines = [f"{'action':<8} {'unit':<4} {'min':>9} {'q01':>9} {'mean':>9} {'q99':>9} {'max':>9} {'std':>9}  histogram"]
    for index, name in enumerate(ACTION_NAMES):
        values = [getattr(statistics, field)[index] for field in ("min", "q01", "mean", "q99", "max", "std")]
        numbers = " ".join(f"{round(value, 4) + 0.0:>9.4f}" for value in values)  # no -0.0000
        unit = statistics.units[index] if index < ARM_DIM else ""
        lines.append(f"{name:<8} {unit:<4} {numbers}  {sparkline(inspection.histograms[index])}".rstrip())
    return "\n".join(lines)


def _instructions(inspection: Inspection) -> str:
    instructions = inspection.instructions
    lines = [f"{'episodes':>8}  instruction ({len(instructions)} different)"]
    for text, count in list(instructions.items())[:SHOWN_INSTRUCTIONS]:
        lines.append(f"{count:>8}  {textwrap.shorten(text, WIDTH - 10, placeholder=' ...')}")
    more = len(instructions) - SHOWN_INSTRUCTIONS
    return "\n".join([*lines, *([f"{'':>8}  and {more} more"] if more > 0 else [])])


def _left_out(inspection: Inspection) -> str:
    lines = [f"episodes left out, {len(inspection.left_out)}:"]
    lines += [_wrapped(line) for line in inspection.left_out[:SHOWN_LEFT_OUT]]
    more = len(inspection.left_out) - SHOWN_LEFT_OUT
    return "\n".join([*lines, *([f"  and {more} more"] if more > 0 else [])])


def _warnings(findings: list[Finding]) -> str:
    if not findings:
        return "no warnings"
    return "\n".join([f"warnings, {len(findings)}:", *(_wrapped(finding.text) for finding in findings)])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
