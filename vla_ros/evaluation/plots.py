"""Inline SVG that follows the page's colours; no plotting library at run time."""

import math
from collections.abc import Sequence
from html import escape

from vla_ros.evaluation.statistics import LatencySummary, summarize_latency
from vla_ros.sim.episode import EpisodeResult

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 92, 16, 44
MAX_POINTS = 3000


def reaction_svg(results: Sequence[EpisodeResult]) -> str:
    """Every reaction latency in the order of the run, episodes as bands, with lines at p50 and p99.

    Beyond 3000 images only every k-th is drawn, and everything above p99; empty where nothing was measured.
    """
    values = [value for result in results for value in result.reaction_ms]
    summary = summarize_latency(values)
    if summary is None:
        return ""
    top = _ceiling(summary.max_ms)
    label = (
        f"Reaction latency of {summary.count} images in {len(results)} episodes: "
        f"p50 {summary.p50_ms:.1f} ms, p99 {summary.p99_ms:.1f} ms, maximum {summary.max_ms:.1f} ms"
    )
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">',
        *_bands(results, len(values)),
        *_grid(top),
        *_points(values, summary.p99_ms, top),
        *_percentiles(summary, top),
        f'<text x="{LEFT}" y="{HEIGHT - 8}">images in the order of the run, one band an episode</text>',
        "</svg>",
    ]
    return "\n".join(parts)


def _x(index: float, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * index / count


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _ceiling(value: float) -> float:
    """The least of 1, 2, 2.5, 4, 5, 8, 10 times a power of ten that is not below `value`."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-3)))
    return next(power * step for step in (1, 2, 2.5, 4, 5, 8, 10, 20) if power * step >= value)


def _bands(results: Sequence[EpisodeResult], count: int) -> list[str]:
    bands, start = [], 0
    for number, result in enumerate(results):
        left, right = _x(start, count), _x(start + len(result.reaction_ms), count)
        start += len(result.reaction_ms)
        title = escape(f"{result.instruction}, initial state {result.initial_state}: {result.outcome}")
        bands.append(
            f'<rect class="band{number % 2}" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{title}</title></rect>'
        )
    return bands


def _grid(top: float) -> list[str]:
    lines = []
    for tick in range(5):
        value = top * tick / 4
        y = _y(value, top)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        unit = " ms" if tick == 4 else ""
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}{unit}</text>')
    return lines


def _points(values: Sequence[float], always_above: float, top: float) -> list[str]:
    stride = math.ceil(len(values) / MAX_POINTS)
    return [
        f'<circle cx="{_x(index + 0.5, len(values)):.1f}" cy="{_y(value, top):.1f}" r="2.5"/>'
        for index, value in enumerate(values)
        if index % stride == 0 or value > always_above
    ]


def _percentiles(summary: LatencySummary, top: float) -> list[str]:
    """Lines with labels at the right, which are pushed apart where they would overlap."""
    middle, tail = _y(summary.p50_ms, top), _y(summary.p99_ms, top)
    label_middle = max(middle, tail + 16)
    lines = []
    for name, value, y, label_y in (
        ("p50", summary.p50_ms, middle, label_middle),
        ("p99", summary.p99_ms, tail, tail),
    ):
        lines.append(f'<line class="{name}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="{name}" x="{WIDTH - RIGHT + 6}" y="{label_y + 4:.1f}">{name} {value:.1f} ms</text>')
    return lines
