"""Frames and instructions that must not reach the policy, and what is said about them."""

import dataclasses

import numpy as np
import pytest

from vla_ros.control.observation_gate import (
    Frame,
    ObservationGate,
    RepeatFilter,
)
from vla_ros.errors import ObservationError
from vla_ros.observation import CameraSpec

CAMERA = CameraSpec(name="front", width=4, height=2)
NOW_NS = 10_000_000_000
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
FRAME = Frame(encoding="rgb8", width=4, height=2, step=12, data=PIXELS.tobytes(), stamp_ns=NOW_NS)


@pytest.fixture
def gate() -> ObservationGate:
    return ObservationGate(CAMERA, max_age_ns=200_000_000, now_ns=lambda: NOW_NS)


def test_a_good_frame_comes_through_pixel_for_pixel(gate: ObservationGate) -> None:
    np.testing.assert_array_equal(gate.admit(FRAME), PIXELS)


def test_bgr_is_turned_into_rgb(gate: ObservationGate) -> None:
    data = np.ascontiguousarray(PIXELS[..., ::-1]).tobytes()
    np.testing.assert_array_equal(gate.admit(dataclasses.replace(FRAME, encoding="bgr8", data=data)), PIXELS)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"encoding": "mono8"}, "image: encoding: expected rgb8 or bgr8, got 'mono8'"),
        ({"encoding": "rgba8"}, "image: encoding: expected rgb8 or bgr8, got 'rgba8'"),
        ({"width": 8}, "image: width: expected 4 px (front), got 8"),
        ({"height": 0}, "image: height: expected 2 px (front), got 0"),
        ({"step": 16}, "image: step: expected 12, got 16"),
        ({"data": PIXELS.tobytes()[:-1]}, "image: len(data): expected 24, got 23"),
        ({"data": PIXELS.tobytes() + b"\0"}, "image: len(data): expected 24, got 25"),
        ({"data": bytes(24)}, "image: data: expected a picture, got an all-black image"),
        ({"stamp_ns": 0}, "image: header.stamp: expected a capture time > 0, got 0 ns"),
        ({"stamp_ns": -1}, "image: header.stamp: expected a capture time > 0, got -1 ns"),
        ({"stamp_ns": NOW_NS - 200_000_001}, "image: header.stamp: expected an age <= 0.2 s, got 0.200 s"),
        ({"stamp_ns": NOW_NS + 50_000_001}, "image: header.stamp: expected <= 0.05 s ahead, got 0.050 s ahead"),
        ({"stamp_ns": 2**62}, "image: header.stamp: expected <= 0.05 s ahead, got "),
    ],
)
def test_a_wrong_frame_is_refused_with_the_field_and_both_values(
    gate: ObservationGate, change: dict[str, object], line: str
) -> None:
    with pytest.raises(ObservationError) as refusal:
        gate.admit(dataclasses.replace(FRAME, **change))  # type: ignore[arg-type]
    assert str(refusal.value).startswith(line)
    assert gate.refused[refusal.value.reason] == 1
    assert gate.admitted == 0


@pytest.mark.parametrize("earlier_ns", [0, 1, 3_600_000_000_000])
def test_stamps_must_grow(earlier_ns: int) -> None:
    start_ns = 2 * 3_600_000_000_000
    gate = ObservationGate(CAMERA, max_age_ns=10**18, now_ns=lambda: start_ns)
    frame = dataclasses.replace(FRAME, stamp_ns=start_ns)
    gate.admit(frame)
    with pytest.raises(ObservationError, match="the last one"):
        gate.admit(dataclasses.replace(frame, stamp_ns=frame.stamp_ns - earlier_ns))


def test_where_a_simulator_owns_the_clock_it_may_start_anew_but_not_repeat_itself() -> None:
    gate = ObservationGate(CAMERA, max_age_ns=None, now_ns=lambda: 0)
    gate.admit(FRAME)
    gate.admit(dataclasses.replace(FRAME, stamp_ns=1))
    with pytest.raises(ObservationError, match="the last one"):
        gate.admit(dataclasses.replace(FRAME, stamp_ns=1))


def test_a_refused_frame_does_not_move_the_stamp_on(gate: ObservationGate) -> None:
    with pytest.raises(ObservationError):
        gate.admit(dataclasses.replace(FRAME, data=bytes(24)))
    gate.admit(dataclasses.replace(FRAME, stamp_ns=NOW_NS - 1))


def test_a_repeated_fault_is_one_line_in_a_while() -> None:
    now = [0]
    passes = RepeatFilter(lambda: now[0], period_ns=10).passes
    assert [passes("a"), passes("a"), passes("b")] == [True, False, True]
    now[0] = 10
    assert [passes("a"), passes("a")] == [True, False]
