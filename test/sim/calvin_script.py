"""Open loop, without an image: how to do those of CALVIN's tasks whose things always stand in the same place.

A fist is pushed through a few points. Positions of the point between the fingers, in CALVIN's world [m].
"""

import numpy as np
from numpy.typing import NDArray

START = (0.02586842, -0.23131318, 0.5712805)
"""Where every chain begins."""
STEP_M = 0.015
PAUSE_STEPS = 3
ABOVE_M = 0.6
IN_FRONT_M, TABLE_M = -0.12, 0.42
"""Nearer than this there is nothing to bump into, except below the table's top, where the drawer is."""

LED = ((-0.12, -0.12, 0.56), (-0.12, -0.12, 0.44), (-0.12, -0.12, 0.56))
POINTS = {
    "press the button to turn on the led light": LED,
    "press the button to turn off the led light": LED,
    "push the sliding door to the right side": ((-0.31, -0.12, 0.56), (-0.31, -0.01, 0.54), (0.02, -0.01, 0.54)),
    "push the sliding door to the left side": ((0.12, -0.12, 0.56), (0.12, -0.01, 0.54), (-0.2, -0.01, 0.54)),
    "use the switch to turn on the light bulb": ((0.3, -0.1, 0.5), (0.3, 0.02, 0.49), (0.3, 0.06, 0.68)),
    "use the switch to turn off the light bulb": (
        *((0.3, -0.02, 0.72), (0.3, 0.13, 0.72)),
        *((0.3, 0.13, 0.66), (0.3, 0.09, 0.58), (0.3, 0.05, 0.48)),
    ),
    "pull the handle to open the drawer": ((0.18, -0.21, 0.56), (0.18, -0.21, 0.36), (0.18, -0.45, 0.36)),
    "push the handle to close the drawer": ((0.18, -0.56, 0.56), (0.18, -0.56, 0.36), (0.18, -0.25, 0.36)),
}


def rows(instruction: str, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """All steps for an instruction from where the arm's target is: float64 [n, 3], m; none for an unknown one."""
    points = POINTS.get(instruction)
    if points is None:
        return np.zeros((0, 3))
    x, y, z = start
    away = y if z < TABLE_M else min(y, IN_FRONT_M)
    over = (*points[0][:2], ABOVE_M)
    steps: list[NDArray[np.float64]] = []
    for point in ((x, away, z), (x, away, ABOVE_M), over, *points):
        left = np.subtract(point, start)
        start = np.asarray(point)
        while np.abs(left).max() > 1e-9:
            step = np.clip(left, -STEP_M, STEP_M)
            left = left - step
            steps.append(step)
        steps += [np.zeros(3)] * PAUSE_STEPS
    return np.array(steps)
