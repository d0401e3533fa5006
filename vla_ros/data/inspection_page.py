"""An inspection as one HTML file: no network, images within."""

import base64

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.data.inspection import Inspection
from vla_ros.data.inspection_plots import gripper_svg, histogram_svg
from vla_ros.data.inspection_warnings import Finding
from vla_ros.html_template import html_template

IMAGE_WIDTH_PX = 256
"""Frames are shrunk to this, as the page holds forty of them."""

SHOWN_INSTRUCTIONS = 200
SHOWN_LEFT_OUT = 200


def render(inspection: Inspection, findings: list[Finding]) -> str:
    """The page; every text that comes from outside is escaped."""
    return html_template("vla_ros.data", "inspection.html.j2").render(
        inspection=inspection,
        findings=findings,
        lengths=[episode.steps for episode in inspection.episodes],
        lengths_plot=Markup(histogram_svg(inspection.lengths, "steps per episode", {})),  # noqa: S704 (numbers)
        dimensions=_dimensions(inspection),
        strips=[
            {
                "strip": strip,
                "images": [_data_url(frame) for frame in strip.frames],
                "gripper": Markup(gripper_svg(strip.opening)),  # noqa: S704 (numbers)
            }
            for strip in inspection.images.strips
        ],
        instructions=inspection.instructions,
        shown_instructions=SHOWN_INSTRUCTIONS,
        shown_left_out=SHOWN_LEFT_OUT,
        percent=lambda share: f"{share:.0%}".replace("%", " %"),
    )


def _dimensions(inspection: Inspection) -> list[dict[str, object]]:
    statistics = inspection.statistics
    rows: list[dict[str, object]] = []
    for index, name in enumerate(ACTION_NAMES):
        is_arm = index < ARM_DIM
        unit = statistics.units[index] if is_arm else "1 open, 0 closed"
        marks = {"q01": statistics.q01[index], "q99": statistics.q99[index]} if is_arm else {}
        # + 0.0 turns -0.0 into 0.0
        values = {
            field: round(getattr(statistics, field)[index], 4) + 0.0
            for field in ("min", "q01", "mean", "q99", "max", "std")
        }
        rows.append(
            {
                "name": name,
                "unit": unit,
                "values": values,
                "extreme": inspection.extreme_shares[index] if is_arm else None,
                "plot": Markup(  # noqa: S704 (numbers, and text that is escaped)
                    histogram_svg(inspection.histograms[index], f"{name} [{unit}]", marks)
                ),
            }
        )
    return rows


def _data_url(frame: NDArray[np.uint8]) -> str:
    height, width = frame.shape[:2]
    if width > IMAGE_WIDTH_PX:
        frame = np.asarray(
            cv2.resize(frame, (IMAGE_WIDTH_PX, round(height * IMAGE_WIDTH_PX / width)), interpolation=cv2.INTER_AREA),
            np.uint8,
        )
    _, encoded = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
