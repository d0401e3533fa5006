"""Success by task as a picture of its own, for a model card or a README."""

from collections.abc import Sequence
from html import escape

from vla_ros.evaluation.statistics import TaskSummary

WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 720, 24, 300, 70, 8, 44
TEXT, QUIET, GRID, BAR, WHISKER = "#1b2130", "#5b6474", "#dde1e8", "#8ca8e8", "#1b2130"


def success_by_task_svg(tasks: Sequence[TaskSummary], total: TaskSummary) -> str:
    """A bar a task and one for all, with their Wilson intervals, on white; readable without the report."""
    rows = (*tasks, total)
    bottom = TOP + ROW * len(rows)
    label = f"Success by task: {total.successes} of {total.n} over {len(tasks)} tasks"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="img" '
        f'font-family="sans-serif" font-size="13" aria-label="{label}">',
        f'<rect width="{WIDTH}" height="{bottom + BOTTOM}" fill="#fff"/>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = _x(share)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="{QUIET}">{share:.0%}</text>')
    for number, row in enumerate(rows):
        parts += _bar(row, TOP + ROW * number)
    note = "successful episodes; lines: 95 % Wilson intervals"
    parts.append(f'<text x="{_x(0.5):.1f}" y="{bottom + 36}" text-anchor="middle" fill="{QUIET}">{note}</text>')
    return "\n".join([*parts, "</svg>"])


def _bar(row: TaskSummary, top: float) -> list[str]:
    middle = top + ROW / 2
    low, high = map(_x, row.ci95)
    width = _x(row.rate) - _x(0)
    return [
        f'<text x="{LEFT - 10}" y="{middle + 4}" text-anchor="end" fill="{TEXT}">{escape(row.instruction)}</text>',
        f'<rect x="{LEFT}" y="{top + 5}" width="{width:.1f}" height="{ROW - 10}" fill="{BAR}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{WHISKER}" stroke-width="1.5"/>',
        f'<text x="{WIDTH - RIGHT + 12}" y="{middle + 4}" fill="{TEXT}">{row.successes} / {row.n}</text>',
    ]


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share
