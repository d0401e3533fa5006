"""policy_node with a stub policy, as a real process; the test plays camera, operator and gate."""

import signal
import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import CompressedImage, Image

from test.node.camera import PIXELS, Camera
from test.node.fleet import POLICY, Fleet, Probe
from test.node.stub_policy import StubPolicy
from vla_ros.action import ACTION_NAMES
from vla_ros.node import qos
from vla_ros.node.messages import chunk_from_trajectory
from vla_ros.observation import Observation

PERIOD_NS = 50_000_000
REAL_TIME = {**POLICY, "lockstep": False, "image_timeout_s": 60.0}
"""In wall time; no frame of a test is ever too old, unless the test is about that."""


def start(fleet: Fleet, probe: Probe, parameters: dict[str, object]) -> Camera:
    """The node, active."""
    fleet.start_node("policy_node", parameters)
    camera = Camera(probe)
    camera.connect()
    return camera


@pytest.fixture
def camera(fleet: Fleet, probe: Probe) -> Camera:
    return start(fleet, probe, POLICY)


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
        "HOLD: image: encoding: expected rgb8 or bgr8 or": {"encoding": "mono16"},
        "HOLD: image: len(data): expected 3104, got 3072": {"step": 97},
        "HOLD: image: height: expected 32 px (fake), got 31": {"height": 31},
    }
    for stamp_ns, (line, changes) in enumerate(wrong.items(), start=1):
        camera.show(stamp_ns, **changes)
        camera.wait_for_state(line)
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
    camera.show(2, encoding="mono16")
    deadline = time.monotonic() + 0.5
    camera.probe.until(lambda: time.monotonic() > deadline)
    assert camera.states()[-1] == "HOLD: instruction: text: expected <= 1024 bytes, got 1025"
    assert camera.chunks == []


@pytest.mark.parametrize("data", [b"go \xff", b"caf\xc3", b"go \xed\xa0\x80", b"go \xf8\x88\x80\x80\x80"])
def test_an_instruction_that_is_no_utf_8_on_the_wire_is_refused(camera: Camera, data: bytes) -> None:
    camera.instruct("go")
    camera.say_bytes(data)
    line = "HOLD: instruction: text: expected printable UTF-8 text, got U+FFFD at position 3"
    camera.wait_for_state(line)
    camera.probe.until(lambda: camera.echoes()[-1] == "", "the echo")


def test_without_an_instruction_the_first_image_is_refused(camera: Camera) -> None:
    camera.show(1)
    line = "HOLD: instruction: expected one before the first image, got none"
    camera.probe.until(lambda: line in camera.states(), line)
    camera.instruct("go")
    camera.show(2)
    camera.probe.until(lambda: camera.chunks, "a chunk")
    assert camera.states()[-1] == "ACTIVE"


def test_a_result_for_the_former_instruction_is_discarded(fleet: Fleet, probe: Probe) -> None:
    camera = start(fleet, probe, {**POLICY, "engine": "pause"})
    camera.instruct("go")
    camera.show(1)
    probe.until((fleet.folder / "started").exists, "the inference")
    camera.instruct("something else")
    (fleet.folder / "release").touch()
    camera.show(2)
    camera.probe.until(lambda: camera.chunks, "a chunk")
    assert [message.header.stamp.nanosec for message in camera.chunks] == [2]


def test_three_failures_in_a_row_take_the_node_out_of_service_but_not_down(fleet: Fleet, probe: Probe) -> None:
    camera = start(fleet, probe, {**POLICY, "engine": "raise"})
    camera.instruct("go")
    for number in range(1, 4):
        camera.show(number)
        camera.probe.until(lambda number=number: f"{number} of 3: " in fleet.text("policy_node"), "a failure")
    fault = "FAULT: inference failed 3 times in a row: RuntimeError: out of memory, says the stub"
    camera.probe.until(lambda: fault in camera.states(), fault)
    assert fleet.is_alive("policy_node")
    assert fleet.interrupt("policy_node") == 0


def test_an_inference_that_never_returns_does_not_keep_the_process_from_ending(fleet: Fleet, probe: Probe) -> None:
    camera = start(fleet, probe, {**POLICY, "engine": "hang"})
    camera.instruct("go")
    camera.show(1)
    assert fleet.interrupt("policy_node") == 0


def test_three_refused_images_in_a_row_hold_and_withdraw_the_instruction(fleet: Fleet, probe: Probe) -> None:
    camera = start(fleet, probe, REAL_TIME)
    camera.instruct("go")
    last_ns = camera.show_now()
    probe.until(lambda: camera.stamps_ns() == [last_ns], "a chunk")
    for count in ("1", "2"):
        camera.show_now(encoding="mono16")
        camera.wait_for_diagnostics(**{"frames_refused: encoding": count})
        assert (camera.states()[-1], camera.echoes()[-1]) == ("ACTIVE", "go")
    camera.show_now(encoding="mono16")
    camera.wait_for_state("HOLD: image: encoding: expected")
    probe.until(lambda: camera.echoes()[-1] == "", "the instruction's withdrawal")
    last_ns = camera.show_now()
    probe.until(lambda: camera.stamps_ns()[-1] == last_ns, "a chunk")
    probe.until(lambda: (camera.states()[-1], camera.echoes()[-1]) == ("ACTIVE", "go"), "the end of the hold")


def test_a_camera_that_stops_is_a_hold_and_one_that_goes_on_ends_it(fleet: Fleet, probe: Probe) -> None:
    camera = start(fleet, probe, {**REAL_TIME, "image_timeout_s": 0.2})
    camera.instruct("go")
    line = camera.wait_for_state("HOLD: image: expected a good frame within 0.2 s, got none for 0.")
    assert line.endswith("; none was refused")
    probe.until(lambda: camera.echoes()[-1] == "", "the instruction's withdrawal")
    count = len(camera.states())

    def is_running() -> bool:
        camera.show_now()
        return "ACTIVE" in camera.states()[count:] and bool(camera.chunks)

    probe.until(is_running, "a chunk")
    assert camera.echoes()[-1] == "go"


def test_a_camera_that_freezes_but_goes_on_stamping_is_a_hold(fleet: Fleet, probe: Probe) -> None:
    camera = start(fleet, probe, {**REAL_TIME, "max_identical_frames": 2})
    camera.instruct("go")
    line = "HOLD: image: data: expected at most 2 frames in a row with the same pixels, got "

    def is_held() -> bool:
        camera.show_now()
        return camera.states()[-1].startswith(line)

    probe.until(is_held, line)
    camera.show_now(255 - PIXELS)
    probe.until(lambda: camera.states()[-1] == "ACTIVE", "another picture")


def test_an_answer_that_comes_after_its_timeout_is_dropped(fleet: Fleet, probe: Probe) -> None:
    camera = start(fleet, probe, {**REAL_TIME, "engine": "pause", "inference_timeout_s": 2.0})
    camera.instruct("go")
    camera.show_now()
    line = camera.wait_for_state("HOLD: inference failed: expected an answer within 2 s, got none for 2.")
    assert "no other inference can begin before this one returns" in line
    probe.until(lambda: camera.echoes()[-1] == "", "the instruction's withdrawal")
    (fleet.folder / "release").touch()
    camera.wait_for_diagnostics(answers_late="1", inferences_timed_out="1")
    assert camera.chunks == []
    last_ns = camera.show_now()
    probe.until(lambda: camera.stamps_ns() == [last_ns], "a chunk")
    probe.until(lambda: (camera.states()[-1], camera.echoes()[-1]) == ("ACTIVE", "go"), "the end of the hold")


def test_an_inference_that_never_returns_is_a_fault_that_says_how_to_mend_it(fleet: Fleet, probe: Probe) -> None:
    camera = start(fleet, probe, {**POLICY, "engine": "pause", "inference_timeout_s": 0.2})
    camera.instruct("go")
    camera.show(1)
    fault = camera.wait_for_state("FAULT: inference failed 3 times in a row: expected an answer within 0.2 s, got none")
    assert "`ros2 lifecycle set /policy_node cleanup`" in fault
    probe.until(lambda: camera.echoes()[-1] == "", "the instruction's withdrawal")
    assert not camera.change_state(Transition.TRANSITION_ACTIVATE)
    assert camera.change_state(Transition.TRANSITION_CLEANUP)
    assert camera.change_state(Transition.TRANSITION_CONFIGURE)
    assert camera.change_state(Transition.TRANSITION_ACTIVATE)
    (fleet.folder / "release").touch()
    probe.until(lambda: camera.echoes()[-1] == "go", "the instruction, which is latched")
    camera.show(2)
    probe.until(lambda: camera.stamps_ns() == [2], "a chunk")


def test_an_instruction_from_before_the_policy_was_opened_is_judged_by_its_tokenizer(
    fleet: Fleet, probe: Probe
) -> None:
    fleet.start_node("policy_node", {**POLICY, "autostart": False})
    camera = Camera(probe)
    text = f"go {StubPolicy.SPECIAL_TOKEN}"
    camera.say(text)
    camera.wait_for_diagnostics(instruction=text)
    assert camera.change_state(Transition.TRANSITION_CONFIGURE)
    assert camera.change_state(Transition.TRANSITION_ACTIVATE)
    camera.wait_for_state("HOLD: instruction: expected plain text")
    assert camera.echoes() == [""]


def test_leaving_service_withdraws_the_instruction(camera: Camera) -> None:
    camera.instruct("go")
    assert camera.change_state(Transition.TRANSITION_DEACTIVATE)
    camera.probe.until(lambda: camera.echoes()[-1] == "", "the withdrawal")
    assert camera.change_state(Transition.TRANSITION_ACTIVATE)
    camera.probe.until(lambda: camera.echoes()[-1] == "go", "the instruction")


def test_compressed_images_are_taken_from_the_topic_that_image_transport_names(fleet: Fleet, probe: Probe) -> None:
    parameters = [f"{name}:={str(value).lower()}" for name, value in POLICY.items()]
    options = [word for value in ["image_transport:=compressed", *parameters] for word in ("-p", value)]
    fleet.start("policy_node", "--ros-args", *options, "-r", "image:=/wrist/image_raw")
    camera = Camera(probe, "/wrist/image_raw/compressed", CompressedImage)
    camera.connect()
    camera.instruct("go")
    camera.show_png(7)
    probe.until(lambda: camera.chunks, "a chunk")
    expected = StubPolicy().predict(Observation(image=PIXELS, instruction="go", stamp_ns=7))
    np.testing.assert_array_equal(chunk_from_trajectory(camera.chunks[0], PERIOD_NS).actions, expected.actions)


def test_diagnostics_count_every_frame(camera: Camera) -> None:
    camera.show(1)  # before any instruction
    camera.wait_for_state("HOLD: instruction")
    camera.instruct("go")
    camera.show(2, encoding="mono16")
    camera.wait_for_state("HOLD: image: encoding")
    camera.show(3)
    camera.probe.until(lambda: camera.chunks, "a chunk")
    values = camera.wait_for_diagnostics(frames_received="3", inferences="1")
    expected = {
        "instruction": "go",
        "engine": "ok",
        "bundle": ".",
        "bundle_sha256": "0" * 64,
        "frames_admitted": "1",
        "frames_refused": "2",
        "frames_refused: encoding": "1",
        "frames_refused: no instruction": "1",
        "frames_dropped": "0",
        "inferences_failed": "0",
        "inferences_timed_out": "0",
    }
    assert expected.items() <= values.items()
    assert 0 < float(values["inference_p50_s"]) <= float(values["inference_p99_s"])
    assert float(values["frame_age_s"]) > 0
    levels = {status.message.split(":")[0]: status.level for message in camera.diagnostics for status in message.status}
    assert levels["ACTIVE"] == DiagnosticStatus.OK
    assert levels["HOLD"] == DiagnosticStatus.WARN


def test_whoever_looks_gets_a_picture_of_what_the_policy_saw_and_wants(camera: Camera) -> None:
    pictures = camera.probe.listen("policy_node/debug_image", Image, qos.RELIABLE)
    camera.probe.until(lambda: camera.probe.node.count_publishers("policy_node/debug_image") == 1, "discovery")
    camera.instruct("go")
    stamps = iter(range(1, 10**6))

    def is_seen() -> bool:
        camera.show(next(stamps))
        return bool(pictures)

    camera.probe.until(is_seen, "a picture")
    message = pictures[0]
    assert message.encoding == "rgb8"
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    factor = message.height // 32
    frame = cv2.resize(PIXELS, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(pixels[:, : 32 * factor], frame)


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
