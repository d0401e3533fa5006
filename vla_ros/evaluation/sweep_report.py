"""Variants side by side: a table, a page that links to each one's report, and success over latency as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from vla_ros.evaluation.record import Evaluation
from vla_ros.evaluation.sweep import Sweep, latency_ms
from vla_ros.evaluation.table import aligned
from vla_ros.html_template import html_template

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 24, 56
LEGEND_PX = 18
COLORS = ("#2f5fd0", "#c2570c", "#14713d", "#8b2fa8", "#a3261f", "#0e7490")
HEADINGS = ("variant", "episodes", "successes", "rate", "95 % interval", "latency p50 [ms]", "clipped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Success at one latency: shares from 0 to 1, with their interval."""

    latency_ms: float
    rate: float
    ci95: tuple[float, float]


def text(swept: Sweep) -> str:
    """One row a variant; numbers are right-aligned."""
    return aligned(HEADINGS, [_row(*pair) for pair in zip(_names(swept), swept.evaluations, strict=False)])


def _names(swept: Sweep) -> list[str]:
    return [variant.name for variant in swept.variants]


def _row(name: str, evaluation: Evaluation) -> tuple[str, ...]:
    total, latency = evaluation.total, latency_ms(evaluation)
    if total is None:
        return (name, "0", *["-"] * 5)
    return (
        name,
        str(total.n),
        str(total.successes),
        f"{total.rate:.0%}",
        f"{total.ci95[0]:.0%} to {total.ci95[1]:.0%}",
        "-" if latency is None else f"{latency:g}",
        f"{total.clamped_share:.1%}",
    )


def write(swept: Sweep) -> list[Path]:
    """Write `sweep.html` and, where latency was varied, `success_over_latency.svg`; their paths."""
    curves = success_over_latency(swept)
    picture = svg(curves) if curves else ""
    page = swept.output / "sweep.html"
    rows = [
        (quote(f"{name}/report.html"), _row(name, evaluation), evaluation.failure)
        for name, evaluation in zip(_names(swept), swept.evaluations, strict=False)
    ]
    template = html_template("vla_ros.evaluation", "sweep.html.j2")
    content = template.render(
        title=swept.output.name,
        headings=HEADINGS,
        rows=rows,
        picture=Markup(picture),  # noqa: S704 (numbers, and names that svg() escapes)
    )
    page.write_text(content, encoding="utf-8")
    if not picture:
        return [page]
    drawing = swept.output / "success_over_latency.svg"
    drawing.write_text(picture, encoding="utf-8")
    return [page, drawing]


def success_over_latency(swept: Sweep) -> dict[str, list[Point]]:
    """A curve for everything that was varied beside the latency; none where fewer than two latencies were run."""
    curves: dict[str, list[Point]] = {}
    for variant, evaluation in zip(swept.variants, swept.evaluations, strict=False):
        latency, total = latency_ms(evaluation), evaluation.total
        if latency is None or total is None:
            continue
        name = replace(variant, latency="").name
        point = Point(latency_ms=latency, rate=total.rate, ci95=total.ci95)
        curves.setdefault(name, []).append(point)
    for points in curves.values():
        points.sort(key=lambda point: point.latency_ms)
    return {name: points for name, points in curves.items() if len(points) > 1}


def svg(curves: dict[str, list[Point]]) -> str:
    """The curves with their Wilson intervals, on white, readable without the page."""
    highest = max(point.latency_ms for points in curves.values() for point in points)
    height = HEIGHT + LEGEND_PX * len(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" '
        f'font-size="13" aria-label="Success rate over the median latency in the loop">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        *_axes(curves, highest),
    ]
    for index, (name, points) in enumerate(curves.items()):
        color = COLORS[index % len(COLORS)]
        parts += _curve(points, highest, color)
        y = HEIGHT + LEGEND_PX * index
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + 24}" y1="{y}" y2="{y}" stroke="{color}" stroke-width="2.5"/>')
        parts.append(f'<text x="{LEFT + 32}" y="{y + 4}" fill="#1b2130">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"])


def _x(latency: float, highest: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * latency / max(highest, 1e-9)


def _y(rate: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * rate


def _axes(curves: dict[str, list[Point]], highest: float) -> list[str]:
    lines = []
    for tick in range(5):
        y = _y(tick / 4)
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dde1e8"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#5b6474">{25 * tick} %</text>')
    latencies = sorted({point.latency_ms for points in curves.values() for point in points})
    for latency in latencies:
        x, y = _x(latency, highest), HEIGHT - BOTTOM + 20
        lines.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle" fill="#5b6474">{latency:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    label = "latency in the loop, median [ms]; bars: 95 % Wilson intervals of the success rate"
    lines.append(f'<text x="{middle}" y="{HEIGHT - BOTTOM + 40}" text-anchor="middle" fill="#5b6474">{label}</text>')
    return lines


def _curve(points: Sequence[Point], highest: float, color: str) -> list[str]:
    path = " ".join(f"{_x(point.latency_ms, highest):.1f},{_y(point.rate):.1f}" for point in points)
    lines = [f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.5"/>']
    for point in points:
        x, low, high = _x(point.latency_ms, highest), *map(_y, point.ci95)
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{color}" opacity=".5"/>')
        lines.append(f'<circle cx="{x:.1f}" cy="{_y(point.rate):.1f}" r="4.5" fill="{color}"/>')
    return lines
