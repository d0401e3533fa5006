"""policy_node with a stub policy, as a real process; the test plays camera, operator and gate."""

import dataclasses
import signal
import time
from collections.abc import Callable

import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from test.node.fleet import POLICY, Fleet, Probe
from test.node.stub_policy import StubPolicy
from vla_ros.action import ACTION_NAMES
from vla_ros.node import qos
from vla_ros.node.messages import chunk_from_trajectory, image_from_pixels
from vla_ros.observation import Observation

PERIOD_NS = 50_000_000
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


@dataclasses.dataclass
class Camera:
    """The test's end of policy_node's topics."""

    probe: Probe
    chunks: list[JointTrajectory]
    states: Callable[[], list[str]]
    echoes: Callable[[], list[str]]

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.chunks = probe.listen("policy_node/action_chunk", JointTrajectory)
        self.states = probe.states("policy_node/state")
        self.echoes = probe.states("policy_node/instruction")
        self._images = probe.node.create_publisher(Image, "image", qos.IMAGE)
        self._instructions = probe.node.create_publisher(String, "instruction", qos.LATCHED)

    def connect(self) -> None:
        self.probe.until(lambda: "ACTIVE" in self.states(), "activation")
        self.probe.until(self.echoes, "the first echo")
        self.probe.until(lambda: self._images.get_subscription_count() == 1, "discovery")
        self.probe.until(lambda: self.probe.node.count_publishers("policy_node/action_chunk") == 1, "discovery")

    def instruct(self, text: str) -> None:
        count = len(self.echoes())
        self._instructions.publish(String(data=text))
        self.probe.until(lambda: len(self.echoes()) > count, "the echo of the instruction")

    def show(self, stamp_ns: int, pixels: np.ndarray = PIXELS, **changes: object) -> None:
        image = image_from_pixels(pixels, stamp_ns, "fake")
        for name, value in changes.items():
            setattr(image, name, value)
        self._images.publish(image)


@pytest.fixture
def camera(fleet: Fleet, probe: Probe) -> Camera:
    fleet.start_node("policy_node", POLICY)
    camera = Camera(probe)
    camera.connect()
    return camera


def test_a_chunk_carries_the_policys_actions_and_the_images_stamp(camera: Camera, fleet: Fleet) -> None:
    camera.instruct("go")
    camera.show(7_000_000_000)
    camera.probe.until(lambda: camera.chunks, "a chunk")
    message = camera.chunks[0]
    chunk = chunk_from_trajectory(message, PERIOD_NS)
    expected = StubPolicy().predict(Observation(image=PIXELS, instruction="go", stamp_ns=7_000_000_000))
    np.testing.assert_array_equal(chunk.actions, expected.actions)
    assert (chunk.stamp_ns, chunk.period_ns, chunk.frame_id) == (7_000_000_000, PERIOD_NS, "base")
    assert tuple(message.joint_names) == ACTION_NAMES
    assert fleet.interrupt("policy_node", signal.SIGTERM) == 0


def test_a_wrong_image_is_refused_with_one_line_and_a_right_one_still_served(camera: Camera) -> None:
    camera.instruct("go")
    wrong = {
        "HOLD: image: encoding: expected rgb8 or bgr8, got 'mono8'": {"encoding": "mono8"},
        "HOLD: image: step: expected 96, got 97": {"step": 97},
        "HOLD: image: height: expected 32 px (fake), got 31": {"height": 31},
    }
    for stamp_ns, (line, changes) in enumerate(wrong.items(), start=1):
        camera.show(stamp_ns, **changes)
        camera.probe.until(lambda line=line: line in camera.states(), line)
    camera.show(9)
    camera.probe.until(lambda: camera.chunks, "a chunk")
    assert [message.header.stamp.nanosec for message in camera.chunks] == [9]


def test_a_refused_instruction_leaves_none_in_force(camera: Camera) -> None:
    for text in ("", "go\x07", "a" * 1025):
        camera.instruct("go")
        assert camera.echoes()[-1] == "go"
        camera.instruct(text)
        assert camera.echoes()[-1] == ""
    camera.show(1)
    camera.show(2, encoding="mono8")
    deadline = time.monotonic() + 0.5
    camera.probe.until(lambda: time.monotonic() > deadline)
    assert camera.states()[-1] == "HOLD: instruction: text: expected <= 1024 bytes, got 1025"
    assert camera.chunks == []


def test_without_an_instruction_the_first_image_is_refused(camera: Camera) -> None:
    camera.show(1)
    line = "HOLD: instruction: expected one before the first image, got none"
    camera.probe.until(lambda: line in camera.states(), line)
    camera.instruct("go")
    camera.show(2)
    camera.probe.until(lambda: camera.chunks, "a chunk")
    assert camera.states()[-1] == "ACTIVE"


def test_a_result_for_the_former_instruction_is_discarded(fleet: Fleet, probe: Probe) -> None:
    fleet.start_node("policy_node", {**POLICY, "engine": "pause"})
    camera = Camera(probe)
    camera.connect()
    camera.instruct("go")
    camera.show(1)
    probe.until((fleet.folder / "started").exists, "the inference")
    camera.instruct("something else")
    (fleet.folder / "release").touch()
    camera.show(2)
    camera.probe.until(lambda: camera.chunks, "a chunk")
    assert [message.header.stamp.nanosec for message in camera.chunks] == [2]


def test_three_failures_in_a_row_take_the_node_out_of_service_but_not_down(fleet: Fleet, probe: Probe) -> None:
    fleet.start_node("policy_node", {**POLICY, "engine": "raise"})
    camera = Camera(probe)
    camera.connect()
    camera.instruct("go")
    for number in range(1, 4):
        camera.show(number)
        camera.probe.until(lambda number=number: f"{number} of 3: " in fleet.text("policy_node"), "a failure")
    fault = "FAULT: inference failed 3 times in a row: RuntimeError: out of memory, says the stub"
    camera.probe.until(lambda: fault in camera.states(), fault)
    assert fleet.is_alive("policy_node")
    assert fleet.interrupt("policy_node") == 0


def test_an_inference_that_never_returns_does_not_keep_the_process_from_ending(fleet: Fleet, probe: Probe) -> None:
    fleet.start_node("policy_node", {**POLICY, "engine": "hang"})
    camera = Camera(probe)
    camera.connect()
    camera.instruct("go")
    camera.show(1)
    assert fleet.interrupt("policy_node") == 0


@pytest.mark.parametrize(
    ("parameters", "code", "line"),
    [
        ({"bundel": "x"}, 2, "bundel: expected one of cpu_affinity, thread_priority, nice, trace, bundle, engine, "),
        ({"bundle": "no/such/bundle"}, 1, "no/such/bundle: expected a policy bundle, got no such folder"),
    ],
)
def test_a_mistake_in_the_parameters_is_one_clear_line(
    fleet: Fleet, parameters: dict[str, object], code: int, line: str
) -> None:
    fleet.start_node("policy_node", {**POLICY, **parameters})
    assert fleet.wait("policy_node") == code
    assert sum(line in text for text in fleet.text("policy_node").splitlines()) == 1
    assert "Traceback" not in fleet.text("policy_node")


def test_a_missing_parameter_file_is_one_clear_line(fleet: Fleet) -> None:
    fleet.start("policy_node", "--ros-args", "--params-file", "nonexistent.yaml")
    assert fleet.wait("policy_node") == 2
    assert "nonexistent.yaml" in fleet.text("policy_node")
    assert "Traceback" not in fleet.text("policy_node")
