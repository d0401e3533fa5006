"""How far an engine's answer may be from torch's, in mm, degrees and gripper values that differ."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.errors import EngineError


def check_errors(errors: NDArray[np.float64], tolerance: Mapping[str, float], source: str) -> None:
    """Refuse an answer that is too far off.

    Args:
        errors: the largest per action dimension of one chunk, float64 [7], m, rad and 1.
        tolerance: as `bundle.GraphInfo.tolerance`; but no gripper value may differ here, whatever share of them may
            elsewhere: the golden observation is the one whose grippers are decided most clearly. Only where all may
            differ, as of a policy of random weights, they may here.

    Raises:
        EngineError: names the first dimension that is off, with its unit.
    """
    degrees, most_mm, most_degrees = np.rad2deg(errors[3:ARM_DIM]), tolerance["position_mm"], tolerance["rotation_deg"]
    rows = [
        *((name, 1e3 * error, most_mm, "mm") for name, error in zip(ACTION_NAMES[:3], errors[:3], strict=True)),
        *((name, error, most_degrees, "deg") for name, error in zip(ACTION_NAMES[3:ARM_DIM], degrees, strict=True)),
        (ACTION_NAMES[ARM_DIM], errors[ARM_DIM], 1.0 if tolerance["gripper_flips"] >= 1 else 0.0, "flips"),
    ]
    for name, error, most, unit in rows:
        if not error <= most:  # NaN is no small error
            raise EngineError(
                f"{source}: {name}: expected torch's answer within {most:g} {unit}, got {error:.3g} {unit} off"
            )
