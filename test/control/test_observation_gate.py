"""Frames that must not reach the policy, and what is said about them."""

import dataclasses

import cv2
import numpy as np
import pytest

from vla_ros.control.observation_gate import ObservationGate
from vla_ros.errors import ObservationError
from vla_ros.observation import CameraSpec

CAMERA = CameraSpec(name="front", width=4, height=2)
NOW_NS = 10_000_000_000
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


@dataclasses.dataclass(frozen=True)
class Raw:
    """The fields of sensor_msgs/Image."""

    encoding: str = "rgb8"
    width: int = 4
    height: int = 2
    step: int = 12
    data: bytes = PIXELS.tobytes()


@dataclasses.dataclass(frozen=True)
class Compressed:
    """The fields of sensor_msgs/CompressedImage."""

    format: str
    data: bytes


def png(pixels: np.ndarray) -> Compressed:
    return Compressed("png", cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())


def make_gate(**changes: object) -> ObservationGate:
    arguments = {"max_age_ns": 200_000_000, "max_identical_frames": 0, "now_ns": lambda: NOW_NS}
    return ObservationGate(CAMERA, **{**arguments, **changes})  # type: ignore[arg-type]


@pytest.fixture
def gate() -> ObservationGate:
    return make_gate()


def test_a_good_frame_comes_through_pixel_for_pixel(gate: ObservationGate) -> None:
    np.testing.assert_array_equal(gate.admit(Raw(), NOW_NS), PIXELS)
    assert (gate.admitted, gate.refused_in_a_row) == (1, 0)


def test_bgr_is_turned_into_rgb(gate: ObservationGate) -> None:
    data = np.ascontiguousarray(PIXELS[..., ::-1]).tobytes()
    np.testing.assert_array_equal(gate.admit(Raw(encoding="bgr8", data=data), NOW_NS), PIXELS)


def test_a_compressed_frame_comes_through_pixel_for_pixel(gate: ObservationGate) -> None:
    np.testing.assert_array_equal(gate.admit(png(PIXELS), NOW_NS), PIXELS)


def test_rows_may_be_padded(gate: ObservationGate) -> None:
    padded = np.pad(PIXELS.reshape(2, 12), ((0, 0), (0, 4)), constant_values=9)
    np.testing.assert_array_equal(gate.admit(Raw(step=16, data=padded.tobytes()), NOW_NS), PIXELS)


BIG = np.full((3, 4, 3), 7, np.uint8)
PADDED_BLACK = np.pad(np.zeros((2, 12), np.uint8), ((0, 0), (0, 4)), constant_values=9).tobytes()
BLACK = np.zeros((2, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("frame", "reason", "line"),
    [
        (Raw(encoding="mono16"), "encoding", "image: encoding: expected rgb8 or bgr8 or rgba8 or bgra8 or mono8 or "),
        (Raw(encoding="x" * 1000 + "\n"), "encoding", "image: encoding: expected rgb8 or bgr8 or "),
        (Raw(width=8), "width", "image: width: expected 4 px (front), got 8"),
        (Raw(height=0), "height", "image: height: expected 2 px (front), got 0"),
        (Raw(step=11), "step", "image: step: expected >= 12, got 11"),
        (Raw(step=16), "len(data)", "image: len(data): expected 32, got 24"),
        (Raw(data=PIXELS.tobytes()[:-1]), "len(data)", "image: len(data): expected 24, got 23"),
        (Raw(data=PIXELS.tobytes() + b"\0"), "len(data)", "image: len(data): expected 24, got 25"),
        (Raw(data=bytes(24)), "black", "image: data: expected a picture, got nothing but zeros"),
        (Raw(step=16, data=PADDED_BLACK), "black", "image: data: expected a picture, got an all-black image"),
        # a picture for whoever decodes them: opaque black, and green
        (
            Raw(encoding="rgba8", step=16, data=b"\0\0\0\xff" * 8),
            "black",
            "image: data: expected a picture, got an all-b",
        ),
        (
            Raw(encoding="yuyv", step=8, data=bytes(16)),
            "black",
            "image: data: expected a picture, got nothing but zeros",
        ),
        (png(BLACK), "black", "image: data: expected a picture, got an all-black image"),
        (png(BIG), "height", "image: height: expected 2 px (front), got 3"),
        (Compressed("png", png(PIXELS).data[:-1]), "data", "image: data: expected a whole PNG file, got "),
        (Compressed("h264", b"\1"), "format", "image: format: expected jpeg or png, alone or of 8-bit colour"),
    ],
)
def test_a_wrong_frame_is_refused_with_the_field_and_both_values(
    gate: ObservationGate, frame: Raw | Compressed, reason: str, line: str
) -> None:
    with pytest.raises(ObservationError) as refusal:
        gate.admit(frame, NOW_NS)
    text = str(refusal.value)
    assert text.startswith(line)
    assert "\n" not in text
    assert len(text) < 300
    assert gate.refused == {reason: 1}
    assert (gate.admitted, gate.refused_in_a_row) == (0, 1)


@pytest.mark.parametrize(
    ("stamp_ns", "reason", "line"),
    [
        (0, "no stamp", "image: header.stamp: expected a capture time > 0, got 0 ns"),
        (-1, "no stamp", "image: header.stamp: expected a capture time > 0, got -1 ns"),
        (NOW_NS - 200_000_001, "stale", "image: header.stamp: expected an age <= 0.2 s, got 0.200 s"),
        (NOW_NS + 50_000_001, "from the future", "image: header.stamp: expected <= 0.05 s ahead, got 0.050 s ahead"),
        (2**62, "from the future", "image: header.stamp: expected <= 0.05 s ahead, got "),
    ],
)
def test_a_wrong_stamp_is_refused(gate: ObservationGate, stamp_ns: int, reason: str, line: str) -> None:
    with pytest.raises(ObservationError) as refusal:
        gate.admit(Raw(), stamp_ns)
    assert str(refusal.value).startswith(line)
    assert gate.refused == {reason: 1}


@pytest.mark.parametrize("stamp_ns", [NOW_NS - 200_000_000, NOW_NS + 50_000_000])
def test_a_stamp_at_the_limit_is_admitted(gate: ObservationGate, stamp_ns: int) -> None:
    gate.admit(Raw(), stamp_ns)


@pytest.mark.parametrize("earlier_ns", [0, 1, 3_600_000_000_000])
def test_stamps_must_grow(earlier_ns: int) -> None:
    start_ns = 2 * 3_600_000_000_000
    gate = make_gate(max_age_ns=10**18, now_ns=lambda: start_ns)
    gate.admit(Raw(), start_ns)
    with pytest.raises(ObservationError, match="the last one"):
        gate.admit(Raw(), start_ns - earlier_ns)
    assert gate.refused == {"out of order": 1}


def test_a_clock_that_is_set_back_does_not_lock_the_camera_out() -> None:
    now = [NOW_NS]
    gate = make_gate(now_ns=lambda: now[0])
    gate.admit(Raw(), NOW_NS)
    now[0] = NOW_NS // 2
    gate.admit(Raw(), now[0])
    with pytest.raises(ObservationError, match="the last one"):
        gate.admit(Raw(), now[0])


def test_where_a_simulator_owns_the_clock_it_may_start_anew_but_not_repeat_itself() -> None:
    gate = make_gate(max_age_ns=None, now_ns=lambda: 0)
    gate.admit(Raw(), NOW_NS)
    gate.admit(Raw(), 1)
    with pytest.raises(ObservationError, match="the last one"):
        gate.admit(Raw(), 1)


def test_a_refused_frame_does_not_move_the_stamp_on(gate: ObservationGate) -> None:
    with pytest.raises(ObservationError):
        gate.admit(Raw(data=bytes(24)), NOW_NS)
    gate.admit(Raw(), NOW_NS - 1)


def test_refusals_in_a_row_are_counted_until_a_frame_is_admitted(gate: ObservationGate) -> None:
    for count in (1, 2):
        with pytest.raises(ObservationError):
            gate.admit(Raw(width=8), NOW_NS)
        assert gate.refused_in_a_row == count
    gate.admit(Raw(), NOW_NS)
    assert (gate.refused_in_a_row, gate.refused.total()) == (0, 2)


def test_a_camera_that_stamps_the_same_pixels_anew_is_frozen_until_they_change() -> None:
    gate = make_gate(max_identical_frames=3)
    start_ns = NOW_NS - 100
    for number in range(3):
        gate.admit(Raw(), start_ns + number)
    for number in (3, 4):
        with pytest.raises(ObservationError) as refusal:
            gate.admit(Raw(), start_ns + number)
        expected = f"at most 3 frames in a row with the same pixels, got {number + 1}"
        assert str(refusal.value) == f"image: data: expected {expected}"
    assert gate.refused == {"frozen": 2}
    last = PIXELS.copy()
    last[-1, -1, -1] ^= 1
    gate.admit(Raw(data=last.tobytes()), start_ns + 5)
    gate.admit(Raw(), start_ns + 6)
    assert gate.refused_in_a_row == 0


def test_the_world_of_a_simulator_may_stand_still(gate: ObservationGate) -> None:
    for number in range(100):
        gate.admit(Raw(), NOW_NS - 100 + number)
