"""Inline SVG that follows the page's colours; no plotting library."""

from html import escape

import numpy as np
from numpy.typing import NDArray

from vla_ros.data.inspection_histogram import Histogram

WIDTH, HEIGHT = 320, 132
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 18, 22

STRIP_WIDTH, STRIP_HEIGHT = 1000, 14


def histogram_svg(histogram: Histogram, label: str, marks: dict[str, float]) -> str:
    """Bars whose height is the square root of the count, with vertical lines at the marks."""
    top = max(max(histogram.counts), 1)
    width = (WIDTH - LEFT - RIGHT) / len(histogram.counts)
    floor = HEIGHT - BOTTOM
    bars = []
    for index, count in enumerate(histogram.counts):
        if count:
            height = max((count / top) ** 0.5 * (floor - TOP), 1.0)
            x = LEFT + index * width
            bars.append(f"M{x:.1f} {floor}v-{height:.1f}h{max(width - 0.6, 0.4):.1f}v{height:.1f}z")
    return "\n".join(
        [
            f'<svg class="histogram" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">',
            f'<path class="bars" d="{"".join(bars)}"/>',
            f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>',
            *(_mark(histogram, name, value) for name, value in marks.items()),
            *_ends(histogram),
            "</svg>",
        ]
    )


def gripper_svg(opening: NDArray[np.float32]) -> str:
    """A bar over the time of an episode, filled where the gripper is closed."""
    is_closed = opening <= 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_closed, [False]]).astype(np.int8)))
    scale = STRIP_WIDTH / len(opening)
    label = f"gripper closed in {is_closed.mean():.0%} of the steps".replace("%", " %")
    return "\n".join(
        [
            f'<svg class="gripper" viewBox="0 0 {STRIP_WIDTH} {STRIP_HEIGHT}" preserveAspectRatio="none" '
            f'role="img" aria-label="{label}"><title>{label}</title>',
            f'<rect class="open" width="{STRIP_WIDTH}" height="{STRIP_HEIGHT}"/>',
            *(
                f'<rect class="closed" x="{begin * scale:.1f}" width="{(end - begin) * scale:.1f}" '
                f'height="{STRIP_HEIGHT}"/>'
                for begin, end in edges.reshape(-1, 2)
            ),
            "</svg>",
        ]
    )


def _mark(histogram: Histogram, name: str, value: float) -> str:
    share = (value - histogram.low) / (histogram.high - histogram.low)
    if not 0 <= share <= 1:
        return ""
    x = LEFT + share * (WIDTH - LEFT - RIGHT)
    anchor = "start" if share < 0.1 else "end" if share > 0.9 else "middle"
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="mark" x="{x:.1f}" y="{TOP - 5}" text-anchor="{anchor}">{escape(name)}</text>'
    )


def _ends(histogram: Histogram) -> list[str]:
    """Numbers below the axis, and how many values lie beyond it."""
    below = f" ({histogram.below} below)" if histogram.below else ""
    above = f"({histogram.above} above) " if histogram.above else ""
    y = HEIGHT - 6
    return [
        f'<text x="{LEFT}" y="{y}">{histogram.low + 0.0:.3g}{below}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{y}" text-anchor="end">{above}{histogram.high + 0.0:.3g}</text>',
    ]
