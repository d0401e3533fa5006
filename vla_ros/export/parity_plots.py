"""Inline SVG that follows the page's colours; no plotting library."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vla_ros.export.parity import Unit, shown

WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 20, 22
SIDE, MARGIN = 320, 34
POINTS = 80
MOST_DECADES = 4

Scale = Callable[[float], float]
Points = NDArray[np.float64]


def distribution_svg(errors: Points, unit: Unit, limit: float, label: str) -> str:
    """The share of values within an error, over the error on a logarithmic axis, with a line at the tolerance.

    Args:
        errors: absolute, any shape, in `unit`.
        limit: of the tolerance.
        label: for those who do not see it.
    """
    high = max(limit, float(errors.max())) * 1.5
    low = max(min(float(np.quantile(errors, 0.02)), limit / 30), high / 10**MOST_DECADES)
    x, y = _log_x(low, high), _linear_y(0, 1)
    shares = np.linspace(0, 1, POINTS + 1)
    places = [(x(value), y(share)) for value, share in zip(np.quantile(errors, shares), shares, strict=True)]
    curve = _path([(places[0][0], y(0)), *places, (x(high), y(1))])
    area = f"{curve}V{y(0):.1f}H{places[0][0]:.1f}z"
    mark = x(limit)
    return _svg(
        "distribution",
        label,
        *(_horizontal(y(share), f"{share * 100:.0f} %") for share in (0, 0.5, 1)),
        *(_below(x(value), _decade(value)) for value in _decades(low, high)),
        f'<path class="area" d="{area}"/><path class="engine" d="{curve}"/>',
        f'<line class="limit" x1="{mark:.1f}" x2="{mark:.1f}" y1="{TOP - 4}" y2="{HEIGHT - BOTTOM}"/>',
        f'<text class="limit" x="{mark:.1f}" y="{TOP - 8}" text-anchor="{_anchor(mark)}">{shown(limit)} {unit}</text>',
    )


def steps_svg(reference: Points, actions: Points, limit: float, label: str) -> str:
    """One dimension over the steps of a chunk: torch's line in the band of the tolerance, the engine's dots.

    Args:
        reference, actions: [chunk_size], in one unit with `limit`.
    """
    both = np.concatenate([reference, actions])
    # the band may be far wider than what it is about: it is cut off then
    margin = max(0.15 * float(np.ptp(both)), 0.35 * limit)
    low, high = float(both.min()) - margin, float(both.max()) + margin
    y = _linear_y(low, high)
    xs = np.linspace(LEFT + 10, WIDTH - RIGHT - 10, len(reference)) if len(reference) > 1 else np.array([WIDTH / 2])

    def line(values: Points) -> list[tuple[float, float]]:
        return [(float(at), y(float(np.clip(value, low, high)))) for at, value in zip(xs, values, strict=True)]

    band = _path([*line(reference + limit), *reversed(line(reference - limit))]) + "z"
    return _svg(
        "steps",
        label,
        f'<path class="band" d="{band}"/>',
        *(_horizontal(y(value), f"{value:.3g}") for value in (float(both.min()), float(both.max()))),
        *(_below(float(xs[step]), str(step)) for step in sorted({0, len(xs) // 2, len(xs) - 1})),
        f'<path class="torch" d="{_path(line(reference))}"/>',
        *_dots(line(actions)),
    )


def path_svg(reference: Points, actions: Points, axes: tuple[str, str], label: str) -> str:
    """The way of the end effector over a chunk, both axes to the same scale.

    Args:
        reference, actions: [chunk_size, 2], where each step ends [mm], from the place of the observation.
        axes: names of the two, to the right and upwards.
    """
    both = np.concatenate([np.zeros((1, 2)), reference, actions])
    middle, span = (both.max(0) + both.min(0)) / 2, max(float(np.ptp(both, axis=0).max()), 1e-3)
    scale = (SIDE - 2 * MARGIN) / span

    def place(points: Points) -> list[tuple[float, float]]:
        moved = (np.concatenate([np.zeros((1, 2)), points]) - middle) * (scale, -scale) + SIDE / 2
        return [(float(x), float(y)) for x, y in moved]

    ours, theirs = place(actions), place(reference)
    ruler = _round_down(span / 3)
    end = MARGIN / 2 + ruler * scale
    return _svg(
        "path",
        label,
        f'<path class="torch" d="{_path(theirs)}"/><path class="engine" d="{_path(ours)}"/>',
        *_dots(ours[1:]),
        f'<circle class="start" cx="{ours[0][0]:.1f}" cy="{ours[0][1]:.1f}" r="5"/>',
        f'<path class="ruler" d="M{MARGIN / 2:.1f} {SIDE - 20}v6H{end:.1f}v-6"/>',
        f'<text x="{end + 6:.1f}" y="{SIDE - 12}">{shown(ruler)} mm</text>',
        f'<text x="{SIDE - 8}" y="{SIDE - 12}" text-anchor="end">{axes[0]} →</text>',
        f'<text x="8" y="16">↑ {axes[1]}</text>',
        size=(SIDE, SIDE),
    )


def _svg(kind: str, label: str, *parts: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    head = f'<svg class="plot {kind}" viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{label}">'
    return "\n".join([head, *parts, "</svg>"])


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _dots(points: list[tuple[float, float]]) -> list[str]:
    return [f'<circle class="engine" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]


def _horizontal(y: float, text: str) -> str:
    return (
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    )


def _below(x: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{text}</text>'


def _linear_y(low: float, high: float) -> Scale:
    return lambda value: HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _log_x(low: float, high: float) -> Scale:
    """What is smaller than `low` stands at the left end."""
    decades = math.log10(high / low)
    return lambda value: LEFT + math.log10(max(value, low) / low) / decades * (WIDTH - LEFT - RIGHT)


def _decades(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def _decade(value: float) -> str:
    """A power of ten, written out as long as it is short."""
    return f"{value:g}" if value >= 1e-3 else f"10{str(round(math.log10(value))).translate(_SUPERSCRIPT)}"


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _anchor(x: float) -> str:
    return "start" if x < WIDTH * 0.25 else "end" if x > WIDTH * 0.75 else "middle"


def _round_down(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return power * next(step for step in (5, 2, 1) if power * step <= value * (1 + 1e-9))
