"""The pixels that a policy is trained on are those that it gets from the same camera on the robot."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from test.data.recordings import Entry, compressed, demonstration, image, write
from vla_ros.control.observation_gate import ObservationGate
from vla_ros.data.mcap import McapSource
from vla_ros.observation import CameraSpec
from vla_ros.processing.image_message import ENCODINGS

CAMERA = CameraSpec(name="front", width=32, height=24)


def raw_entry(time_s: float, encoding: str, random: np.random.Generator) -> Entry:
    """Noise with four bytes behind each row."""
    row = CAMERA.width * ENCODINGS[encoding].channels
    data = random.integers(0, 256, (CAMERA.height, row + 4), np.uint8)
    return image(time_s, data, encoding, width=CAMERA.width)


def compressed_entry(time_s: float, kind: str, random: np.random.Generator) -> Entry:
    picture = random.integers(0, 256, (CAMERA.height, CAMERA.width, 3), np.uint8)
    return compressed(time_s, cv2.imencode(".jpg" if "jpeg" in kind else ".png", picture)[1].tobytes(), kind)


@pytest.mark.parametrize("kind", [*ENCODINGS, "jpeg", "png", "rgb8; jpeg compressed bgr8"])
def test_a_recording_and_the_robots_camera_give_the_same_pixels(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    make = raw_entry if kind in ENCODINGS else compressed_entry
    entries = [make(e.time_s, kind, random) if e.topic == "/image" else e for e in demonstration()]
    frames = McapSource(path=write(tmp_path / "a.mcap", entries)).open().episode(0).frames
    gate = ObservationGate(CAMERA, max_age_ns=None, max_identical_frames=0, now_ns=lambda: 0)
    messages = [SimpleNamespace(**entry.fields) for entry in entries if entry.topic == "/image"]
    served = [gate.admit(message, number) for number, message in enumerate(messages, start=1)]
    np.testing.assert_array_equal(frames(np.arange(len(served))), served)
