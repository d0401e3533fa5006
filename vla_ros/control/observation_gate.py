"""What may reach the policy: fresh, ordered, right-shaped frames; all else is refused."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.errors import ObservationError
from vla_ros.observation import CameraSpec

MAX_FUTURE_NS = 50_000_000
"""A stamp further ahead than this is a fault of some clock, and must never lengthen a timeout."""

ENCODINGS = ("rgb8", "bgr8")
BYTES_PER_PIXEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A camera message as it arrived, nothing of it trusted.

    Attributes:
        encoding, width, height, step: as in sensor_msgs/Image; step is bytes per row.
        data: the pixels' bytes.
        stamp_ns: capture time, ROS time [ns].
    """

    encoding: str
    width: int
    height: int
    step: int
    data: bytes | bytearray | memoryview
    stamp_ns: int


class ObservationGate:
    """Admits camera frames one by one; counts what it refuses.

    Attributes:
        refused: how many frames were refused, by reason.
        admitted: how many were not.
    """

    def __init__(
        self,
        camera: CameraSpec,
        *,
        max_age_ns: int | None,
        now_ns: Callable[[], int],
        source: str = "image",
    ) -> None:
        """Make a gate.

        Args:
            camera: the only camera that is admitted.
            max_age_ns: frames captured longer ago are stale [ns]. None: a simulator owns the clock and waits for
                the policy, so there is no age, and a stamp that goes back is a simulator that was reset.
            now_ns: ROS time [ns].
            source: the topic, for messages.
        """
        self._camera = camera
        self._max_age_ns = max_age_ns
        self._now_ns = now_ns
        self._source = source
        self._last_stamp_ns = 0
        self.refused: Counter[str] = Counter()
        self.admitted = 0

    def admit(self, frame: Frame) -> NDArray[np.uint8]:
        """The frame's pixels: uint8 [height, width, 3], RGB, in memory of their own.

        Raises:
            ObservationError: with a line that names the field, what was expected and what was found.
        """
        try:
            self._check_layout(frame)
            self._check_stamp(frame.stamp_ns)
            image = self._pixels(frame)
        except ObservationError as refusal:
            self.refused[refusal.reason] += 1
            raise
        self._last_stamp_ns = frame.stamp_ns
        self.admitted += 1
        return image

    def _refuse(self, field: str, expected: object, got: object) -> ObservationError:
        return ObservationError(f"{self._source}: {field}: expected {expected}, got {got}", field)

    def _check_layout(self, frame: Frame) -> None:
        if frame.encoding not in ENCODINGS:
            raise self._refuse("encoding", " or ".join(ENCODINGS), repr(frame.encoding))
        for field in ("width", "height"):
            expected, got = getattr(self._camera, field), getattr(frame, field)
            if got != expected:
                raise self._refuse(field, f"{expected} px ({self._camera.name})", got)
        row_bytes = frame.width * BYTES_PER_PIXEL
        if frame.step != row_bytes:
            raise self._refuse("step", row_bytes, frame.step)
        size = len(memoryview(frame.data).cast("B"))
        if size != row_bytes * frame.height:
            raise self._refuse("len(data)", row_bytes * frame.height, size)

    def _check_stamp(self, stamp_ns: int) -> None:
        if stamp_ns <= 0:
            raise self._refuse("header.stamp", "a capture time > 0", f"{stamp_ns} ns")
        if stamp_ns == self._last_stamp_ns or (stamp_ns < self._last_stamp_ns and self._max_age_ns is not None):
            raise self._refuse("header.stamp", f"> {self._last_stamp_ns} ns, the last one", f"{stamp_ns} ns")
        if self._max_age_ns is None:
            return
        age_ns = self._now_ns() - stamp_ns
        if age_ns > self._max_age_ns:
            raise self._refuse("header.stamp", f"an age <= {self._max_age_ns / 1e9} s", f"{age_ns / 1e9:.3f} s")
        if age_ns < -MAX_FUTURE_NS:
            raise self._refuse("header.stamp", f"<= {MAX_FUTURE_NS / 1e9} s ahead", f"{-age_ns / 1e9:.3f} s ahead")

    def _pixels(self, frame: Frame) -> NDArray[np.uint8]:
        image = np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, BYTES_PER_PIXEL)
        if not image.any():
            raise self._refuse("data", "a picture", "an all-black image")
        return np.ascontiguousarray(image[..., ::-1]) if frame.encoding == "bgr8" else image.copy()


class RepeatFilter:
    """Lets the first message of every kind through, then one in a while: a 30 Hz fault is not 30 lines a second."""

    def __init__(self, now_ns: Callable[[], int], period_ns: int = 5_000_000_000) -> None:
        self._now_ns = now_ns
        self._period_ns = period_ns
        self._last_ns: dict[str, int] = {}

    def passes(self, kind: str) -> bool:
        """Whether a message of this kind is to be logged now."""
        now_ns = self._now_ns()
        last_ns = self._last_ns.get(kind)
        if last_ns is not None and now_ns - last_ns < self._period_ns:
            return False
        self._last_ns[kind] = now_ns
        return True
