"""Which way the arm went in the image: what is upright and what is a mirror image, without knowing what is shown."""

import cv2
import numpy as np
from numpy.typing import NDArray

CHANGED = 20
"""Grey values from which on a pixel counts as changed."""


def mean_flow(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How far what moved went to the right and down, [2], px: dense optical flow where the image changed."""
    first, second = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    has_changed = np.abs(first.astype(int) - second.astype(int)) > CHANGED
    assert has_changed.sum() >= 20, "nothing moved in the image"
    flow = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 5, 21, 5, 7, 1.5, 0)
    return np.asarray(flow[has_changed].mean(axis=0), np.float64)
