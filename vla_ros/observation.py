"""What a policy sees: one camera frame and one instruction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.config import check_numbers
from vla_ros.errors import ObservationError

MAX_FUTURE_NS = 50_000_000
"""A stamp further ahead than this is a fault of some clock, and must never lengthen a timeout [ns]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSpec:
    """The camera that a policy was trained on.

    Attributes:
        name: the view, e.g. `agentview`.
        width: image columns [px].
        height: image rows [px].
    """

    name: str
    width: int
    height: int

    def __post_init__(self) -> None:
        check_numbers(self, "width", "height", least=1)

    def check(self, image: NDArray[np.uint8], source: str) -> None:
        """Refuse an image of any other shape or type: a wrong camera is never resized in silence.

        Raises:
            ObservationError: the shape is not [height, width, 3] or the type is not uint8.
        """
        expected = (self.height, self.width, 3)
        if image.shape != expected or image.dtype != np.uint8:
            raise ObservationError(
                f"{source}: {self.name}: expected uint8 {list(expected)}, got {image.dtype} {list(image.shape)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One camera frame with the instruction that was in force when it was taken.

    Attributes:
        image: uint8 [height, width, 3], RGB, upright (row 0 is the top).
        instruction: what the robot is to do, plain text.
        stamp_ns: capture time, ROS time [ns].
    """

    image: NDArray[np.uint8]
    instruction: str
    stamp_ns: int
