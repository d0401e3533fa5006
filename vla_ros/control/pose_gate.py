"""What may be taken for the end effector's pose: fresh, in order and in the base frame; all else is refused."""

from collections import Counter
from collections.abc import Callable

from vla_ros.errors import ObservationError
from vla_ros.observation import MAX_FUTURE_NS


class PoseGate:
    """Admits measured poses one by one; counts what it refuses.

    Attributes:
        refused: how many were refused, by reason.
    """

    def __init__(self, *, base_frame_id: str, max_age_ns: int, now_ns: Callable[[], int], source: str) -> None:
        """Make a gate.

        Args:
            base_frame_id: poses in any other frame are refused.
            max_age_ns: poses measured longer ago are stale [ns].
            now_ns: ROS time [ns].
            source: where they come from, for messages.
        """
        self._base_frame_id = base_frame_id
        self._max_age_ns = max_age_ns
        self._now_ns = now_ns
        self._source = source
        self._last_stamp_ns = 0
        self.refused: Counter[str] = Counter()

    def check(self, frame_id: str, stamp_ns: int) -> None:
        """Admit the pose in this frame, measured then [ns].

        Raises:
            ObservationError: with a line that names the field, what was expected and what was found.
        """
        now_ns = self._now_ns()
        if self._last_stamp_ns - now_ns > MAX_FUTURE_NS:  # from before the clock went back
            self._last_stamp_ns = 0
        if frame_id != self._base_frame_id:
            raise self.refusal("header.frame_id", f"{self._base_frame_id!r}, the base_frame_id", repr(frame_id))
        if stamp_ns <= self._last_stamp_ns:
            raise self.refusal("header.stamp", f"> {self._last_stamp_ns} ns, the last one", f"{stamp_ns} ns")
        age_ns = now_ns - stamp_ns
        if age_ns > self._max_age_ns:
            raise self.refusal("header.stamp", f"an age <= {self._max_age_ns / 1e9} s", f"{age_ns / 1e9:.3f} s")
        if age_ns < -MAX_FUTURE_NS:
            raise self.refusal("header.stamp", f"<= {MAX_FUTURE_NS / 1e9} s ahead", f"{-age_ns / 1e9:.3f} s ahead")
        self._last_stamp_ns = stamp_ns

    def refusal(self, field: str, expected: object, got: object) -> ObservationError:
        """Count a refusal and say why."""
        self.refused[field] += 1
        return ObservationError(f"{self._source}: {field}: expected {expected}, got {got}", field)
