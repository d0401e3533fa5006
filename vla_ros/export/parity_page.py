"""How far an export is from the trained policy as one HTML file: no network, images within, small as it is shipped."""

import base64
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.export.parity import ARM_SCALE, ARM_UNITS, Parity, Tolerance, arm_errors, shown
from vla_ros.export.parity_plots import distribution_svg, path_svg, steps_svg
from vla_ros.html_template import html_template

if TYPE_CHECKING:
    from vla_ros.export.sensitivity import Sensitivity

IMAGE_WIDTH_PX = 320
SHOWN_LAYERS = 25
MOST_LAYERS = 500
"""Of a sweep, as the page goes with the bundle."""


def page(
    parity: Parity,
    tolerance: Tolerance,
    *,
    name: str,
    precision: str,
    reference_actions: NDArray[np.float32],
    actions: NDArray[np.float32],
    images: Sequence[NDArray[np.uint8]],
    instructions: Sequence[str],
    kept: tuple[str, ...],
    sensitivity: "Sensitivity | None",
) -> str:
    """The page; every text that comes from outside is escaped.

    Args:
        name: of the policy.
        precision: of its weights.
        reference_actions, actions: torch's and the engine's [frames, chunk_size, 7], SI units.
        images: RGB [height, width, 3], one a frame; only the worst frame's is shown.
        instructions: one a frame.
        kept: layers that are not quantised though others are.
        sensitivity: of a sweep, if one was made.
    """
    frame = parity.worst_frame
    return html_template("vla_ros.export", "parity.html.j2").render(
        name=name,
        precision=precision,
        parity=parity,
        tolerance=tolerance,
        problems=_problems(parity, tolerance),
        dimensions=_dimensions(parity, tolerance, reference_actions, actions),
        frame={
            "number": frame,
            "image": _data_url(images[frame]),
            "instruction": instructions[frame],
            "paths": _paths(reference_actions[frame], actions[frame]),
            "gripper": _gripper(reference_actions[frame], actions[frame]),
        },
        kept=_collapse(kept),
        sensitivity=sensitivity,
        suggestion=sensitivity.suggest_keep(tolerance.position_mm) if sensitivity else (),
        shown_layers=SHOWN_LAYERS,
        most_layers=MOST_LAYERS,
        shown=shown,
    )


def _problems(parity: Parity, tolerance: Tolerance) -> list[str]:
    """The dimensions beyond their tolerance."""
    found = [name for name, error in parity.errors.items() if not error.worst <= tolerance.limit(error.unit)]
    return [*found, *([] if parity.gripper_share <= tolerance.gripper_flips else ["gripper"])]


def _dimensions(
    parity: Parity, tolerance: Tolerance, reference: NDArray[np.float32], actions: NDArray[np.float32]
) -> list[dict[str, object]]:
    errors = arm_errors(reference, actions)
    worst_frame = [np.asarray(values[parity.worst_frame, :, :ARM_DIM]) * ARM_SCALE for values in (reference, actions)]
    rows: list[dict[str, object]] = []
    for index, (name, unit) in enumerate(zip(ACTION_NAMES[:ARM_DIM], ARM_UNITS, strict=True)):
        error, limit = parity.errors[name], tolerance.limit(unit)
        label = f"{name}: errors up to {shown(error.worst)} {unit}, tolerance {shown(limit)} {unit}"
        reference_steps, engine_steps = (chunk[:, index] for chunk in worst_frame)
        steps = steps_svg(reference_steps, engine_steps, limit, f"{name} over the steps, in {unit}")
        distribution = distribution_svg(errors[..., index], unit, limit, label.replace("<", "below "))
        rows.append(
            {
                "name": name,
                "error": error,
                "limit": limit,
                "is_within": error.worst <= limit,
                "share": min(error.worst / limit, 1.0),
                "distribution": Markup(distribution),  # noqa: S704 (numbers)
                "steps": Markup(steps),  # noqa: S704 (numbers)
            }
        )
    return rows


def _paths(reference: NDArray[np.float32], actions: NDArray[np.float32]) -> list[Markup]:
    """From above and from the side; the deltas of a chunk are summed up to where each step ends."""
    ends = [np.cumsum(np.asarray(chunk[:, :3], np.float64) * ARM_SCALE[:3], axis=0) for chunk in (reference, actions)]
    return [
        Markup(path_svg(ends[0][:, [a, b]], ends[1][:, [a, b]], (ACTION_NAMES[a], ACTION_NAMES[b]), label))  # noqa: S704
        for a, b, label in ((0, 1, "the way in x and y"), (0, 2, "the way in x and z"))
    ]


def _gripper(reference: NDArray[np.float32], actions: NDArray[np.float32]) -> list[dict[str, bool]]:
    """A step each: whether torch and the engine open it."""
    pairs = zip(reference[:, ARM_DIM] > 0.5, actions[:, ARM_DIM] > 0.5, strict=True)
    return [{"torch": bool(torch), "engine": bool(engine)} for torch, engine in pairs]


def _collapse(names: tuple[str, ...]) -> list[tuple[str, int]]:
    """The same layer of every block as one name, with how often it occurs."""
    return list(Counter(re.sub(r"\.\d+(?=\.)", ".*", name) for name in names).items())


def _data_url(image: NDArray[np.uint8]) -> str:
    height, width = image.shape[:2]
    if width > IMAGE_WIDTH_PX:
        size = (IMAGE_WIDTH_PX, round(height * IMAGE_WIDTH_PX / width))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    # a camera's noise makes a PNG of this size larger than the rest of the page
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
