"""The HTML report beside the videos: one file, no network, opens from a folder."""

from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from vla_ros.evaluation.paper import paper_table
from vla_ros.evaluation.plots import reaction_svg
from vla_ros.evaluation.record import Evaluation
from vla_ros.evaluation.task_bars import success_by_task_svg
from vla_ros.html_template import html_template

OUTCOME_NAMES = {
    "success": "success",
    "timeout": "step limit",
    "held": "held",
    "no_command": "no command",
    "simulator_failed": "simulator failed",
}
NOTES = {
    "lockstep": "The simulated world waits meanwhile, so latency costs no success here.",
    "real_time": "The world does not wait: what is late is late. From the moment that the image shows.",
    "latency": "The world waits meanwhile; what a chunk is late by is the latency that was drawn, below.",
}


def write_report(evaluation: Evaluation) -> Path:
    """Write `report.html` and, of several tasks, `success_by_task.svg` beside it; returns the report's path."""
    path = evaluation.output / "report.html"
    path.write_text(render(evaluation), encoding="utf-8")
    if len(evaluation.tasks) > 1 and evaluation.total is not None:
        picture = success_by_task_svg(evaluation.tasks, evaluation.total)
        (evaluation.output / "success_by_task.svg").write_text(picture, encoding="utf-8")
    return path


def render(evaluation: Evaluation) -> str:
    """The report as HTML; every text that comes from outside is escaped."""
    rows = evaluation.tasks
    total = evaluation.total
    return html_template("vla_ros.evaluation", "report.html.j2").render(
        evaluation=evaluation,
        provenance=evaluation.provenance,
        bundle_name=Path(evaluation.provenance.bundle).name,
        mode=evaluation.provenance.mode.replace("_", " "),
        total=total,
        chains=evaluation.chains,
        rows=(*rows, total) if len(rows) > 1 else rows,
        plot=Markup(reaction_svg(evaluation.results)),  # noqa: S704 (numbers, and text that plots.py escapes)
        names=OUTCOME_NAMES,
        note=NOTES[evaluation.provenance.mode],
        paper=None
        if evaluation.config.is_changed
        else paper_table(evaluation.config.simulator, evaluation.config.suite),
        failures=[result for result in evaluation.results if not result.is_success],
        percent=lambda share: f"{share:.0%}".replace("%", " %"),
        link=quote,
    )
