"""What may reach the policy: fresh, ordered, right-shaped frames; all else is refused."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.errors import ObservationError
from vla_ros.observation import MAX_FUTURE_NS, CameraSpec
from vla_ros.processing.image_message import check_image, image_size, pixels_of


class ObservationGate:
    """Admits camera messages one by one; counts what it refuses.

    Attributes:
        admitted: how many messages were admitted.
        refused: how many were not, by reason.
        refused_in_a_row: how many were refused since the last one that was admitted.
    """

    def __init__(
        self,
        camera: CameraSpec,
        *,
        max_age_ns: int | None,
        max_identical_frames: int,
        now_ns: Callable[[], int],
        source: str = "image",
    ) -> None:
        """Make a gate.

        Args:
            camera: the only camera that is admitted.
            max_age_ns: frames captured longer ago are stale [ns]. None: a simulator owns the clock and waits for
                the policy, so there is no age, and a stamp that goes back is a simulator that was reset.
            max_identical_frames: so many frames in a row may have the same pixels; more of them come from a camera that
                froze and goes on stamping. 0: any number, for the world of a simulator may stand still to the last bit.
            now_ns: ROS time [ns].
            source: the topic, for messages.
        """
        self._camera = camera
        self._max_age_ns = max_age_ns
        self._max_identical_frames = max_identical_frames
        self._now_ns = now_ns
        self._source = source
        self._last_stamp_ns = 0
        self._last_image: NDArray[np.uint8] | None = None
        self._identical = 0
        self.admitted = 0
        self.refused: Counter[str] = Counter()
        self.refused_in_a_row = 0

    def admit(self, message: Any, stamp_ns: int) -> NDArray[np.uint8]:
        """The pixels of a message: uint8 [height, width, 3], RGB; they may share the message's memory.

        Args:
            message: with the fields of sensor_msgs/Image or CompressedImage, nothing of them trusted.
            stamp_ns: its capture time, ROS time [ns].

        Raises:
            ObservationError: with a line that names the field, what was expected and what was found.
        """
        try:
            self._check_camera(message)
            self._check_stamp(stamp_ns)
            image = self._picture(message)
            self._check_frozen(image)
        except ObservationError as refusal:
            self.refuse(refusal)
            raise
        self._last_stamp_ns = stamp_ns
        self.admitted += 1
        self.refused_in_a_row = 0
        return image

    def refuse(self, refusal: ObservationError) -> None:
        """Count a message that was refused, here or for a reason that only the caller knows."""
        self.refused[refusal.reason] += 1
        self.refused_in_a_row += 1

    def _refusal(self, field: str, expected: object, got: object, reason: str = "") -> ObservationError:
        return ObservationError(f"{self._source}: {field}: expected {expected}, got {got}", reason or field)

    def _check_camera(self, message: Any) -> None:
        claimed = image_size(message, self._refusal)
        for field, got in zip(("width", "height"), claimed, strict=True):
            expected = getattr(self._camera, field)
            if got != expected:
                raise self._refusal(field, f"{expected} px ({self._camera.name})", got)
        check_image(message, self._refusal)

    def _check_stamp(self, stamp_ns: int) -> None:
        if stamp_ns <= 0:
            raise self._refusal("header.stamp", "a capture time > 0", f"{stamp_ns} ns", "no stamp")
        if self._max_age_ns is None:
            if stamp_ns == self._last_stamp_ns:
                raise self._out_of_order(stamp_ns)
            return
        now_ns = self._now_ns()
        # a clock that was set back would otherwise lock the camera out until it is past the last stamp again
        if self._last_stamp_ns - now_ns <= MAX_FUTURE_NS and stamp_ns <= self._last_stamp_ns:
            raise self._out_of_order(stamp_ns)
        age_ns = now_ns - stamp_ns
        if age_ns > self._max_age_ns:
            expected, got = f"an age <= {self._max_age_ns / 1e9} s", f"{age_ns / 1e9:.3f} s"
            raise self._refusal("header.stamp", expected, got, "stale")
        if age_ns < -MAX_FUTURE_NS:
            expected, got = f"<= {MAX_FUTURE_NS / 1e9} s ahead", f"{-age_ns / 1e9:.3f} s ahead"
            raise self._refusal("header.stamp", expected, got, "from the future")

    def _out_of_order(self, stamp_ns: int) -> ObservationError:
        expected = f"> {self._last_stamp_ns} ns, the last one"
        return self._refusal("header.stamp", expected, f"{stamp_ns} ns", "out of order")

    def _picture(self, message: Any) -> NDArray[np.uint8]:
        """Zeros are no picture, whatever they stand for: a zeroed buffer of YUV is a green one."""
        if not _has_content(np.frombuffer(message.data, np.uint8)):
            raise self._refusal("data", "a picture", "nothing but zeros", "black")
        image = pixels_of(message, self._refusal)
        if not _has_content(image):
            raise self._refusal("data", "a picture", "an all-black image", "black")
        return image

    def _check_frozen(self, image: NDArray[np.uint8]) -> None:
        if not self._max_identical_frames:
            return
        self._identical = self._identical + 1 if _is_same(image, self._last_image) else 1
        self._last_image = image
        if self._identical > self._max_identical_frames:
            expected = f"at most {self._max_identical_frames} frames in a row with the same pixels"
            raise self._refusal("data", expected, self._identical, "frozen")


def _has_content(values: NDArray[np.uint8]) -> bool:
    """Whether any value is not zero; the first few of a picture usually tell, and NumPy would look at all of them."""
    flat = values.reshape(-1)
    return bool(flat[:1024].any() or flat.any())


def _is_same(image: NDArray[np.uint8], last: NDArray[np.uint8] | None) -> bool:
    """Whether all pixels are the same; those of a living camera differ within the first row already."""
    return last is not None and np.array_equal(image[:1], last[:1]) and np.array_equal(image, last)
