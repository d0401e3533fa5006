"""Damaged camera messages: each is refused in one line, or is a picture of the right camera."""

import random

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import CompressedImage

from test.fuzz.damaged_images import BYTES_PER_PIXEL, SIZE_PX, Message, damage, damaged_stamp_ns, make_message
from vla_ros.control.observation_gate import MAX_FUTURE_NS, ObservationGate
from vla_ros.errors import ObservationError
from vla_ros.observation import CameraSpec

COUNT = 10_000
MAX_AGE_NS = 200_000_000
REASONS = {
    *("encoding", "width", "height", "step", "len(data)", "format", "data", "black", "frozen"),
    *("no stamp", "stale", "from the future", "out of order"),
}


def check_admitted(message: Message, image: np.ndarray) -> None:
    """What is admitted is what the message says, as far as one can tell without the code under test."""
    assert image.shape == (SIZE_PX, SIZE_PX, 3)
    assert image.dtype == np.uint8
    assert image.any()
    if isinstance(message, CompressedImage):
        decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(image, decoded[..., ::-1])
        return
    row = SIZE_PX * BYTES_PER_PIXEL[message.encoding]
    assert (message.width, message.height) == (SIZE_PX, SIZE_PX)
    assert message.step >= row
    assert len(message.data) == message.step * message.height
    pixels = np.frombuffer(message.data, np.uint8).reshape(SIZE_PX, message.step)[:, :row]
    if message.encoding in ("rgb8", "bgr8"):
        pixels = pixels.reshape(SIZE_PX, SIZE_PX, 3)
        np.testing.assert_array_equal(image, pixels if message.encoding == "rgb8" else pixels[..., ::-1])


def test_ten_thousand_damaged_frames_are_refused_in_one_line_or_are_what_they_say() -> None:
    random_, pixels = random.Random(0), np.random.default_rng(0)
    now_ns = 10**18
    camera = CameraSpec(name="fake", width=SIZE_PX, height=SIZE_PX)
    gate = ObservationGate(camera, max_age_ns=MAX_AGE_NS, max_identical_frames=2, now_ns=lambda: now_ns)
    last_ns, message = 0, make_message(random_, pixels)
    for _ in range(COUNT):
        now_ns += 33_000_000
        if random_.random() < 0.9:  # otherwise the camera shows its last frame again
            message = make_message(random_, pixels)
            for _ in range(random_.choice([0, 1, 1, 1, 2])):
                damage(message, random_)
        stamp_ns = damaged_stamp_ns(now_ns, random_) if random_.random() < 0.2 else now_ns
        try:
            image = gate.admit(message, stamp_ns)
        except ObservationError as error:
            assert str(error).startswith("image: ")
            assert ": expected " in str(error)
            assert str(error).isprintable()
            assert len(str(error)) < 300
            continue
        check_admitted(message, image)
        assert stamp_ns > last_ns or last_ns > now_ns + MAX_FUTURE_NS
        assert -MAX_FUTURE_NS <= now_ns - stamp_ns <= MAX_AGE_NS
        last_ns = stamp_ns
    assert set(gate.refused) == REASONS
    assert gate.admitted + gate.refused.total() == COUNT
    assert gate.admitted > COUNT / 10
