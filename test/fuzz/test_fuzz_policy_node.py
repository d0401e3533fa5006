"""Damaged camera messages over the wire: policy_node says of each what the observation gate says, and goes on."""

import random
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import CompressedImage, Image

from test.fuzz.damaged_images import SIZE_PX, damage, make_message, stamp
from test.node.camera import Camera
from test.node.fleet import POLICY, Fleet, Probe
from vla_ros.control.observation_gate import ObservationGate
from vla_ros.errors import ObservationError
from vla_ros.observation import CameraSpec

COUNT = 150
TRANSPORTS = [("raw", "image", Image), ("compressed", "image/compressed", CompressedImage)]


@pytest.mark.parametrize(("transport", "topic", "kind"), TRANSPORTS)
def test_damaged_frames_are_refused_with_the_gates_own_words_and_good_ones_served(
    fleet: Fleet, probe: Probe, transport: str, topic: str, kind: Any
) -> None:
    fleet.start_node("policy_node", {**POLICY, "image_transport": transport})
    camera = Camera(probe, topic, kind)
    camera.connect()
    camera.instruct("go")
    random_, pixels = random.Random(transport), np.random.default_rng(1)
    spec = CameraSpec(name="fake", width=SIZE_PX, height=SIZE_PX)
    gate = ObservationGate(spec, max_age_ns=None, max_identical_frames=0, now_ns=lambda: 0)
    stamp_ns = 0
    while stamp_ns < COUNT:
        message = make_message(random_, pixels)
        if not isinstance(message, kind):
            continue
        if random_.random() < 0.8:
            damage(message, random_)
        stamp_ns += 1
        stamp(message, stamp_ns)
        try:
            gate.admit(message, stamp_ns)
        except ObservationError as error:
            camera.publish(message)
            probe.until(lambda line=f"HOLD: {error}": camera.states()[-1] == line, str(error))
            continue
        camera.publish(message)
        probe.until(lambda expected=stamp_ns: camera.stamps_ns()[-1:] == [expected], "a chunk")
    assert gate.admitted > COUNT / 10
    assert gate.refused.total() > COUNT / 10
    assert len(camera.chunks) == gate.admitted
    assert fleet.interrupt("policy_node") == 0
