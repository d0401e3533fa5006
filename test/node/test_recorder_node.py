"""`vla-ros record` as its user runs it: real topics between real processes, read back by the data set's reader."""

import signal
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from test.node.fleet import Probe
from test.node.teleoperation import Operator, Recorder, pixels
from vla_ros.data.episode import Episode
from vla_ros.data.mcap import McapSource
from vla_ros.data.mcap_files import channels
from vla_ros.data.mcap_recovery import recover
from vla_ros.data.recorded_topics import RecordedTopics
from vla_ros.errors import DatasetError
from vla_ros.node import qos
from vla_ros.node.messages import stamp_from_ns

STEPS = 20


@pytest.fixture
def operator(probe: Probe) -> Operator:
    return Operator(probe)


def read(file: Path, **fields: object) -> Episode:
    dataset = McapSource(path=file, **fields).open()
    assert dataset.action.frame_id == "base"
    return dataset.episode(0)


def call(operator: Operator, kind: type, name: str, request: object) -> tuple[bool, str]:
    client = operator.probe.node.create_client(kind, name)
    operator.probe.until(client.service_is_ready, name)
    future = client.call_async(request)
    operator.probe.until(future.done, name)
    return future.result().success, future.result().message


def test_a_demonstration_is_recorded_and_read_back_as_it_was(
    operator: Operator, ros_domain: int, tmp_path: Path
) -> None:
    with Recorder(tmp_path, ros_domain, "--pose", "/ee_pose") as recorder:
        operator.tell("put the soup in the basket")
        operator.wait_for_recorder()
        operator.demonstrate(STEPS)
        assert recorder.end() == 0
        (file,) = recorder.files()
        assert str(file) in recorder.text
    assert channels(file) == {
        "/image": "sensor_msgs/msg/Image",
        "/instruction": "std_msgs/msg/String",
        "/delta_twist_cmds": "geometry_msgs/msg/TwistStamped",
        "/gripper_command": "sensor_msgs/msg/JointState",
        "/ee_pose": "geometry_msgs/msg/PoseStamped",
    }
    steps = np.arange(STEPS)
    commanded = np.zeros((STEPS, 7))
    commanded[:, 0], commanded[:, 5], commanded[:, 6] = 0.01 * steps / 20, 0.1 / 20, steps < 10
    episode = read(file)
    assert episode.instruction == "put the soup in the basket"
    np.testing.assert_allclose(episode.actions, commanded, atol=1e-7)
    np.testing.assert_array_equal(episode.frames(steps), [pixels(step) for step in steps])
    moved = np.zeros((STEPS - 1, 7))
    moved[:, 1], moved[:, 6] = 0.001 * np.diff(steps**2), steps[1:] < 10
    from_poses = read(file, action_from="poses", topics=RecordedTopics(pose="/ee_pose"))
    np.testing.assert_allclose(from_poses.actions, moved, atol=1e-7)


def test_services_begin_finish_and_discard_episodes_and_each_has_the_instruction(
    operator: Operator, ros_domain: int, tmp_path: Path
) -> None:
    begin, finish = SetBool.Request(data=True), SetBool.Request(data=False)
    with Recorder(tmp_path, ros_domain, "--wait") as recorder:
        operator.tell("open the drawer")
        operator.wait_for_recorder("/ee_pose")
        assert call(operator, SetBool, "/recorder/record", finish) == (False, "not recording")
        for _ in range(2):
            operator.demonstrate(5)  # not part of any episode
            assert call(operator, SetBool, "/recorder/record", begin)[0]
            assert call(operator, SetBool, "/recorder/record", begin) == (False, "already recording")
            operator.demonstrate(STEPS)
            assert call(operator, SetBool, "/recorder/record", finish)[0]
        assert call(operator, SetBool, "/recorder/record", begin)[0]
        assert call(operator, Trigger, "/recorder/discard", Trigger.Request())[0]
        assert recorder.end() == 0
        assert len(recorder.files("*.mcap*")) == 2
    dataset = McapSource(path=tmp_path).open()
    episodes = [dataset.episode(index) for index in range(len(dataset))]
    assert [(len(episode), episode.instruction) for episode in episodes] == [(STEPS, "open the drawer")] * 2


def test_in_a_simulators_time_the_instruction_is_as_old_as_the_images(
    operator: Operator, ros_domain: int, tmp_path: Path
) -> None:
    start_ns = 100_000_000_000
    clock = operator.probe.node.create_publisher(Clock, "/clock", qos.RELIABLE)
    with Recorder(tmp_path, ros_domain, "--sim-time", "--text", "wipe the table", "--wait") as recorder:
        operator.wait_for_recorder("/ee_pose", "/instruction")
        operator.probe.until(clock.get_subscription_count, "the recorder's clock")
        clock.publish(Clock(clock=stamp_from_ns(start_ns)))
        assert call(operator, SetBool, "/recorder/record", SetBool.Request(data=True))[0]
        operator.demonstrate(STEPS, start_ns=start_ns)
        assert call(operator, SetBool, "/recorder/record", SetBool.Request(data=False))[0]
        assert recorder.end() == 0
        (file,) = recorder.files()
    episode = read(file)
    assert (len(episode), episode.instruction) == (STEPS, "wipe the table")


def test_a_killed_recorder_leaves_what_it_wrote(operator: Operator, ros_domain: int, tmp_path: Path) -> None:
    with Recorder(tmp_path, ros_domain, "--text", "wipe the table") as recorder:
        operator.wait_for_recorder("/ee_pose", "/instruction")
        operator.demonstrate(200, pause_s=0.001)  # half a megabyte, in chunks of a quarter
        operator.probe.until(lambda: recorder.files("*.active")[0].stat().st_size > 1000, "a chunk on the disk")
        assert recorder.end(signal.SIGKILL) == -signal.SIGKILL
        (active,) = recorder.files("*.mcap.active")
    with pytest.raises(DatasetError, match="expected a recording"):
        McapSource(path=tmp_path).open()
    saved, count = recover(active)
    assert saved.name == active.name.removesuffix(".mcap.active") + "_recovered.mcap"
    assert count > 100
    assert read(saved).instruction == "wipe the table"


SAID = {
    "/policy_node/action_chunk": JointTrajectory,
    "/policy_node/instruction": String,
    "/policy_node/state": String,
    "/command_gate/state": String,
    "/diagnostics": DiagnosticArray,
    "/target_pose": PoseStamped,
    "/emergency_stop": Bool,
}


@pytest.mark.parametrize("lacking", ["", "/target_pose", "/policy_node/action_chunk"])
def test_a_run_is_whole_with_one_output_to_the_arm(
    operator: Operator, ros_domain: int, tmp_path: Path, lacking: str
) -> None:
    latched = dict.fromkeys((String, Bool), qos.LATCHED)
    node = operator.probe.node
    says = {topic: node.create_publisher(kind, topic, latched.get(kind, qos.RELIABLE)) for topic, kind in SAID.items()}
    with Recorder(tmp_path, ros_domain, "--run") as recorder:
        operator.wait_for_recorder("/ee_pose")
        operator.probe.until(lambda: all(each.get_subscription_count() for each in says.values()), "subscriptions")
        operator.publishers["/image"].publish(Image())
        operator.tell("open the drawer")
        for topic, publisher in says.items():
            if topic != lacking:
                publisher.publish(SAID[topic]())
                assert publisher.wait_for_all_acked()
        assert recorder.end() == (1 if lacking else 0), recorder.text
        (file,) = recorder.files()
    assert set(channels(file)) == {"/image", "/instruction", *SAID} - {lacking}
    lost = {"": "", "/target_pose": "/delta_twist_cmds"}.get(lacking, lacking)
    assert not lost or f"expected messages on {lost}, got none" in recorder.text


def test_silent_topics_are_named_and_a_wrong_type_ends_it(operator: Operator, ros_domain: int, tmp_path: Path) -> None:
    with Recorder(tmp_path, ros_domain, "--image", "/camera", "--text", "wipe") as recorder:
        operator.wait_for_recorder("/ee_pose", "/instruction", "/image")
        operator.demonstrate(3)
        operator.probe.until(lambda: "/camera: no message for" in recorder.text, "a warning")
        assert "s; it has 0 publishers" in recorder.text
        operator.probe.node.create_publisher(String, "/camera", qos.RELIABLE)
        assert recorder.wait() == 1
        assert "/camera: type: expected sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage, got" in recorder.text
        assert "expected messages on /camera, got none" in recorder.text
        assert len(recorder.files()) == 1  # what was recorded until then
