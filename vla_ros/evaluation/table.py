"""The result as aligned plain text."""

from vla_ros.evaluation.record import Evaluation
from vla_ros.evaluation.statistics import TaskSummary

HEADINGS = ("task", "episodes", "successes", "rate", "95 % interval", "steps", "p50 [ms]", "p99 [ms]", "outcomes")
TASK_WIDTH = 60


def text_table(evaluation: Evaluation) -> str:
    """One row a task, and one for all of them where there are several; numbers are right-aligned."""
    rows = [_row(summary) for summary in evaluation.tasks]
    if len(rows) > 1 and evaluation.total is not None:
        rows.append(_row(evaluation.total))
    if not rows:
        return "no episode was finished"
    return "\n".join([aligned(HEADINGS, rows), *_chain_lines(evaluation)])


def aligned(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Plain text: the first and the last column are left-aligned, numbers right-aligned."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    lines = [_line(headings, widths), "  ".join("-" * width for width in widths)]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _chain_lines(evaluation: Evaluation) -> list[str]:
    """A sentence on the chains, where there are any."""
    chains = evaluation.chains
    if chains is None:
        return []
    shares = ", ".join(f"{k}: {count / chains.n:.1%}" for k, (count, _) in enumerate(chains.at_least, 1))
    low, high = chains.ci95
    return ["", f"subtasks in a row: {chains.mean:.3f} on average, 95 % {low:.3f} to {high:.3f}; at least {shares}"]


def _row(summary: TaskSummary) -> tuple[str, ...]:
    name, reaction = summary.instruction, summary.reaction
    return (
        name if len(name) <= TASK_WIDTH else name[: TASK_WIDTH - 3] + "...",
        str(summary.n),
        str(summary.successes),
        f"{summary.rate:.0%}",
        f"{summary.ci95[0]:.0%} to {summary.ci95[1]:.0%}",
        f"{summary.mean_steps:.0f}",
        f"{reaction.p50_ms:.1f}" if reaction else "-",
        f"{reaction.p99_ms:.1f}" if reaction else "-",
        ", ".join(f"{count} {outcome}" for outcome, count in summary.outcomes.items()),
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    last = len(cells) - 1
    return "  ".join(
        cell.ljust(width) if column in (0, last) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ).rstrip()
