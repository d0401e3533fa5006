import numpy as np
import pytest
from numpy.typing import NDArray

from vla_ros.data.orientation import Orientation, upright

SEEN = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(1, 2, 3, 3)
"""One frame of two rows and three columns, as a camera sees it."""


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        ("upright", SEEN),
        ("upside_down", SEEN[:, ::-1]),
        ("mirrored", SEEN[:, :, ::-1]),
        ("rotated_180", SEEN[:, ::-1, ::-1]),
    ],
)
def test_frames_come_out_as_a_camera_sees_them(orientation: Orientation, stored: NDArray[np.uint8]) -> None:
    frames = upright(lambda steps: stored, orientation)(np.array([0]))
    np.testing.assert_array_equal(frames, SEEN)
    assert frames.flags.c_contiguous
