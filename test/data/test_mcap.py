"""Recordings of teleoperation, as rosbag2, `vla-ros record` and other writers leave them."""

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from test.data import recordings
from test.data.recordings import (
    DEFINITIONS,
    START_NS,
    Entry,
    demonstration,
    frame,
    gripper,
    header,
    image,
    pose,
    text,
    write,
)
from vla_ros import config
from vla_ros.data.episode import Episode
from vla_ros.data.mcap import McapSource
from vla_ros.data.mcap_writer import EpisodeWriter, RawMessage
from vla_ros.data.recorded_topics import RecordedTopics
from vla_ros.data.scan import scan
from vla_ros.data.sources import DataSource, detect
from vla_ros.errors import ConfigError, DatasetError

FIXTURE = Path(__file__).parent / "fixtures/rosbag2_poses"
WITH_POSES = {"action_from": "poses", "topics": RecordedTopics(pose="/ee_pose", commands=None)}


def read(path: Path, **fields: Any) -> Episode:
    return McapSource(path=path, **fields).open().episode(0)


def test_commanded_velocities_become_deltas_per_tick(tmp_path: Path) -> None:
    episode = read(write(tmp_path / "a.mcap", demonstration()))
    expected = np.zeros((10, 7))
    expected[:, 0], expected[:, 5], expected[:5, 6] = 0.005 * np.arange(10), 0.01, 1
    np.testing.assert_allclose(episode.actions, expected, atol=1e-7)
    assert episode.name == str(tmp_path / "a.mcap")
    assert episode.instruction == "put the soup in the basket"


def test_frames_are_read_from_disk_by_step_in_any_order_and_in_other_processes(tmp_path: Path) -> None:
    frames = read(write(tmp_path / "a.mcap", demonstration())).frames
    steps = np.array([7, 0, 7, 3])
    for reader in (frames, pickle.loads(pickle.dumps(frames))):
        np.testing.assert_array_equal(reader(steps), [frame(step) for step in steps])


def test_another_rate_resamples_images_and_motion(tmp_path: Path) -> None:
    dataset = McapSource(path=write(tmp_path / "a.mcap", demonstration(21)), control_rate_hz=10.0).open()
    episode = dataset.episode(0)
    assert dataset.action.control_rate_hz == 10.0
    velocities = 0.1 * np.arange(21)
    two_steps = (velocities[0:20:2] + velocities[1:21:2]) * 0.05
    np.testing.assert_allclose(episode.actions[:10, 0], two_steps, atol=1e-7)
    np.testing.assert_array_equal(episode.frames(np.arange(10))[:, 0, 0, 0], np.arange(0, 20, 2))


def test_a_rosbag2_folder_by_another_writer_is_an_episode_of_poses() -> None:
    source = detect(FIXTURE).mcap
    assert source is not None
    assert (source.action_from, source.topics.pose, source.topics.image) == ("poses", "/ee_pose", "/camera/compressed")
    source = dataclasses.replace(source, gripper_joint="panda_finger_joint1", gripper_open=0.04)
    dataset = source.open()
    episode = dataset.episode(0)
    assert (len(dataset), len(episode), episode.instruction) == (1, 39, "close the gripper")
    assert dataset.action.frame_id == "panda_link0"
    np.testing.assert_allclose(episode.actions[:, :6], [[0.005, 0, 0, 0, 0, 0.025]] * 39, atol=1e-6)
    np.testing.assert_array_equal(episode.actions[:, 6], np.arange(39) < 19)  # shut 1 s after the first pose
    colours = episode.frames(np.arange(39))[:, 12, 16].astype(int)
    newest = np.floor((0.002 + 0.05 * np.arange(39)) * 15) * 4
    np.testing.assert_allclose(colours, np.stack([newest, newest * 0 + 100, newest * 0 + 200], axis=1), atol=3)


def test_poses_are_relative_along_the_axes_of_the_base(tmp_path: Path) -> None:
    turn = Rotation.from_euler("xyz", [0.3, -1.1, 2.0])  # whatever the hand's own orientation is
    about_z, about_x = Rotation.from_rotvec([0, 0, 0.5]), Rotation.from_rotvec([0.4, 0, 0])
    poses = [((0, 0, 0), turn), ((0.1, 0, 0), about_z * turn), ((0.1, 0.2, 0), about_x * about_z * turn)]
    entries = [text(0, "turn")]
    for k, (position, orientation) in enumerate(poses):
        time_s = k * 0.05
        entries += [image(time_s, frame(k)), pose(time_s, position, orientation.as_quat()), gripper(time_s, 1.0)]
    actions = read(write(tmp_path / "a.mcap", entries), **WITH_POSES).actions
    np.testing.assert_allclose(actions, [[0.1, 0, 0, 0, 0, 0.5, 1], [0, 0.2, 0, 0.4, 0, 0, 1]], atol=1e-6)


def test_euler_angles_are_about_the_bases_fixed_axes(tmp_path: Path) -> None:
    entries = demonstration(4)
    for entry in entries:
        if entry.topic == "/delta_twist_cmds":
            entry.fields["twist"]["angular"] = {"x": 0.0, "y": 20 * np.pi / 4, "z": 0.0}
    dataset = McapSource(path=write(tmp_path / "a.mcap", entries), rotation="euler_xyz").open()
    assert dataset.action.rotation == "euler_xyz"
    np.testing.assert_allclose(dataset.episode(0).actions[0, 3:6], [0, np.pi / 4, 0], atol=1e-6)


def test_a_joint_state_without_the_gripper_and_a_repeated_image_are_passed_over(tmp_path: Path) -> None:
    entries = demonstration()
    entries[1:1] = [gripper(0.0, 0.3, name="panda_joint1"), image(0.0, frame(0))]
    assert len(read(write(tmp_path / "a.mcap", entries))) == 10


def test_recording_begins_when_everything_is_known(tmp_path: Path) -> None:
    entries = demonstration()
    entries[0] = text(0.12, "too late for the first steps")
    entries.sort(key=lambda entry: entry.time_s)
    episode = read(write(tmp_path / "a.mcap", entries))
    np.testing.assert_array_equal(episode.frames(np.arange(len(episode)))[:, 0, 0, 0], np.arange(2, 9))


def test_a_folder_holds_an_episode_per_recording_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, words in (("b", "second"), ("a", "first")):
        write(tmp_path / f"{name}.mcap", [text(0, words), *demonstration()[1:]])
    dataset = McapSource(path=tmp_path).open()
    assert [dataset.episode(index).instruction for index in range(len(dataset))] == ["first", "second"]
    assert len(McapSource(path=tmp_path / "?.mcap").open()) == 2


def test_a_split_rosbag2_folder_is_one_episode(tmp_path: Path) -> None:
    entries = demonstration()
    write(tmp_path / "bag_0.mcap", entries[:13])
    write(tmp_path / "bag_1.mcap", entries[13:])
    (tmp_path / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  storage_identifier: mcap\n  relative_file_paths: [bag_0.mcap, bag_1.mcap]\n"
    )
    episode = read(tmp_path)
    np.testing.assert_array_equal(episode.frames(np.arange(10))[:, 0, 0, 0], np.arange(10))


def test_a_configuration_file_names_topics_and_gripper(tmp_path: Path) -> None:
    write(tmp_path / "a.mcap", demonstration())
    settings = f"mcap: {{path: {tmp_path}, control_rate_hz: 20, topics: {{image: image}}, gripper_open: 1.0}}"
    assert len(config.loads(settings, DataSource, "train.yaml").open().episode(0)) == 10
    with pytest.raises(ConfigError, match=r"train.yaml: mcap.topics.pose: expected a topic, got nothing"):
        config.loads(f"mcap: {{path: {tmp_path}, action_from: poses}}", DataSource, "train.yaml")


Change = Callable[[list[Entry]], object]
NAN = float("nan")


def of(entries: list[Entry], topic: str, number: int) -> dict[str, Any]:
    return [entry for entry in entries if entry.topic == topic][number].fields


BAD: dict[str, tuple[Change, str]] = {
    "a NaN velocity": (
        lambda entries: of(entries, "/delta_twist_cmds", 3)["twist"]["linear"].update(x=NAN),
        r"a.mcap: /delta_twist_cmds: message 3 at 0.150 s: data: expected finite numbers, got \[nan",
    ),
    "no stamp": (
        lambda entries: of(entries, "/image", 2)["header"].update(stamp={"sec": 0, "nanosec": 0}),
        r"/image: message 2 at 0.100 s: header.stamp: expected a time > 0, got 0",
    ),
    "time going back": (
        lambda entries: of(entries, "/delta_twist_cmds", 4).update(header=header(0.1, "base")),
        r"/delta_twist_cmds: message 4 at 0.200 s: header.stamp: expected a time after .* got 0.050 s before it",
    ),
    "another frame": (
        lambda entries: of(entries, "/delta_twist_cmds", 4)["header"].update(frame_id="tool"),
        r"message 4 at 0.200 s: header.frame_id: expected 'base' as before, got 'tool'",
    ),
    "an encoding that is no colour": (
        lambda entries: of(entries, "/image", 1).update(encoding="16UC1"),
        r"/image: message 1 at 0.050 s: encoding: expected rgb8 or bgr8 or .*, got '16UC1'",
    ),
    "an image with too few bytes": (
        lambda entries: of(entries, "/image", 5).update(data=b"123"),
        r"/image: message 5 at 0.250 s: len\(data\): expected 144, got 3",
    ),
    "a step that is too small": (
        lambda entries: of(entries, "/image", 5).update(step=8),
        r"/image: message 5 at 0.250 s: step: expected >= 24, got 8",
    ),
    "a gripper beyond its ends": (
        lambda entries: of(entries, "/gripper_command", 0).update(position=[80.0]),
        r"/gripper_command: message 0 at 0.000 s: position.gripper: expected 0 \(gripper_closed\) to 1 .*, got 80",
    ),
    "a gripper without position": (
        lambda entries: of(entries, "/gripper_command", 0).update(position=[]),
        r"/gripper_command: message 0 at 0.000 s: position: expected 1 numbers, got 0",
    ),
    "another gripper": (
        lambda entries: [entry.fields.update(name=["finger"]) for entry in entries if "gripper" in entry.topic],
        r"/gripper_command: expected a joint that `gripper_joint` names, got finger",
    ),
    "two instructions": (
        lambda entries: entries.append(text(0.5, "something else")),
        r"/instruction: message 1 at 0.500 s: data: expected one instruction per recording, .* got 'something else'",
    ),
    "an instruction that no robot is given": (
        lambda entries: of(entries, "/instruction", 0).update(data="soup\x00"),
        r"/instruction: message 0 at 0.000 s: data: ",
    ),
    "no instruction": (
        lambda entries: entries.pop(0),
        r"a.mcap: /instruction: expected messages, got none; there is /delta_twist_cmds \(geometry_msgs/msg/Twist",
    ),
    "a camera that stands still": (
        lambda entries: [entries.remove(entry) for entry in [e for e in entries if e.topic == "/image"][2:8]],
        r"/image: message 1 at 0.050 s: header.stamp: expected the next image within 0.2 s .*, got none for 0.250 s",
    ),
    "no common time": (
        lambda entries: [entries.append(text(3.0, entries.pop(0).fields["data"]))],
        r"a.mcap: expected a time with all of image, motion, gripper and instruction, got image from -3.00 to -2.55",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_messages_are_refused_by_topic_number_and_time(tmp_path: Path, name: str) -> None:
    change, complaint = BAD[name]
    entries = demonstration()
    change(entries)
    dataset = McapSource(path=write(tmp_path / "a.mcap", entries)).open()
    with pytest.raises(DatasetError, match=complaint):
        dataset.episode(0)


def test_commands_that_would_all_time_out_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", demonstration())
    with pytest.raises(DatasetError, match=r"/delta_twist_cmds: message 0 .* within 0.02 s .* got one every 0.050 s"):
        read(path, command_timeout_s=0.02)


@pytest.mark.parametrize(
    ("cdr", "complaint"),
    [
        (b"\0\1\0\0\3\0\0\0\xff\xfe\0", "expected a std_msgs/msg/String, got UnicodeDecodeError"),
        (b"", "expected a std_msgs/msg/String, got "),
    ],
    ids=["not UTF-8", "empty"],
)
def test_an_instruction_in_an_unknown_encoding_is_refused(tmp_path: Path, cdr: bytes, complaint: str) -> None:
    path = write(tmp_path / "a.mcap", demonstration()[1:])
    told = EpisodeWriter(tmp_path / "b.mcap", DEFINITIONS)
    times = {"log_time_ns": START_NS, "publish_time_ns": START_NS}
    told.put(RawMessage(topic="/instruction", type_name="std_msgs/msg/String", data=cdr, sequence=0, **times))
    told.finish()
    (tmp_path / "metadata.yaml").write_text(
        f"rosbag2_bagfile_information: {{storage_identifier: mcap, relative_file_paths: [b.mcap, {path.name}]}}"
    )
    with pytest.raises(DatasetError, match=rf"b.mcap: /instruction: message 0 at 0.000 s: data: {complaint}"):
        read(tmp_path)


def test_a_topic_of_another_type_is_refused(tmp_path: Path) -> None:
    entries = [*demonstration()[1:], Entry(0.5, "/instruction", "std_msgs/msg/Bool", {"data": True})]
    with pytest.raises(DatasetError, match=r"/instruction: message 0 .*: type: expected std_msgs/msg/String, got std_"):
        read(write(tmp_path / "a.mcap", entries))


def test_a_quaternion_that_is_no_rotation_and_a_gap_between_poses_are_refused(tmp_path: Path) -> None:
    entries = [text(0, "turn")]
    for k in range(8):
        entries += [image(k * 0.05, frame(k)), pose(k * 0.05, (0, 0, 0)), gripper(k * 0.05, 1.0)]
    with_gap = [entry for entry in entries if entry.topic != "/ee_pose" or not 0.04 < entry.time_s < 0.31]
    with pytest.raises(DatasetError, match=r"/ee_pose: message 0 .* the next pose within 0.2 s .* for 0.350 s"):
        read(write(tmp_path / "gap.mcap", with_gap), **WITH_POSES)
    of(entries, "/ee_pose", 3)["pose"]["orientation"].update(w=0.0)
    with pytest.raises(DatasetError, match=r"/ee_pose: message 3 at 0.150 s: pose.orientation: .*, got 0"):
        read(write(tmp_path / "zero.mcap", entries), **WITH_POSES)


def test_a_recording_that_was_cut_off_is_refused_with_its_mend_and_does_not_hide_the_others(tmp_path: Path) -> None:
    whole = write(tmp_path / "b.mcap", demonstration())
    (tmp_path / "a.mcap").write_bytes(whole.read_bytes()[:-100])
    dataset = McapSource(path=tmp_path).open()
    assert len(dataset.episode(1)) == 10
    with pytest.raises(DatasetError, match=r"a.mcap: expected a finished recording, .* --recover .*a.mcap"):
        dataset.episode(0)


def test_damaged_bytes_are_found_by_their_checksum(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", demonstration())
    data = bytearray(path.read_bytes())
    data[150:160] = b"0123456789"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"a.mcap: expected a whole MCAP file, got: "):
        read(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, r"expected a recording \(\*.mcap\), got nothing; try `vla-ros record`"),
        (b"bag", r"a.mcap: expected an MCAP file, got"),
        (b"not a recording at all", "a.mcap: expected an MCAP file, got other content"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "a.mcap").write_bytes(content)
    with pytest.raises(DatasetError, match=complaint):
        McapSource(path=tmp_path).open()


def test_a_rosbag2_folder_of_another_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  storage_identifier: sqlite3\n  relative_file_paths: [a.db3]\n"
    )
    with pytest.raises(DatasetError, match=r"storage_identifier: expected uncompressed mcap .* `ros2 bag convert`"):
        McapSource(path=tmp_path).open()


def test_detect_knows_recordings_and_their_only_topics(tmp_path: Path) -> None:
    write(tmp_path / "a.mcap", demonstration())
    found = detect(tmp_path).mcap
    assert found is not None
    assert (found.action_from, found.topics) == ("commands", RecordedTopics())


def test_images_recorded_at_the_same_moment_are_told_apart(tmp_path: Path) -> None:
    """As with `--sim-time`, where a simulator's clock ticks less often than its camera."""
    entries = demonstration()
    for entry in entries:
        entry.time_s = 0.1 * (entry.time_s // 0.1)
    episode = read(write(tmp_path / "a.mcap", entries))
    np.testing.assert_array_equal(episode.frames(np.arange(10))[:, 0, 0, 0], np.arange(10))


@pytest.mark.parametrize("name", ["../b.mcap", "/b.mcap"])
def test_a_rosbag2_folder_names_no_file_outside_of_it(tmp_path: Path, name: str) -> None:
    write(tmp_path / "b.mcap", demonstration())
    bag = rosbag2(tmp_path / "bag", name)
    with pytest.raises(DatasetError, match=r"metadata.yaml: relative_file_paths: expected files in its folder, got '"):
        read(bag)


def test_a_damaged_recording_among_others_is_one_bad_episode(tmp_path: Path) -> None:
    rosbag2(tmp_path / "a_bag", "../b.mcap")
    (tmp_path / "b.mcap").write_bytes(b"")
    write(tmp_path / "c.mcap", demonstration())
    source = McapSource.detect(tmp_path)
    assert source is not None
    found = scan(source.open(), skip_bad=True, show_progress=False)
    assert (len(found.episodes), len(found.left_out)) == (1, 2)
    assert "a_bag/metadata.yaml" in found.left_out[0]
    assert "b.mcap" in found.left_out[1]


def test_a_flipped_bit_in_the_definition_of_a_message_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", demonstration())
    data = bytearray(path.read_bytes())
    data[data.rindex(b"float64 x\nfloat64 y")] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"a.mcap: expected a whole MCAP file, got one with a damaged summary"):
        read(path)


def test_a_type_that_is_defined_otherwise_than_in_ros_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "sensor_msgs/msg/JointState"
    monkeypatch.setitem(recordings.DEFINITIONS, kind, recordings.DEFINITIONS[kind].replace("position", "positions"))
    entries = demonstration()
    for entry in entries:
        if entry.kind == kind:
            entry.fields["positions"] = entry.fields.pop("position")
    with pytest.raises(DatasetError, match=r"/gripper_command: message 0 .*: type: expected the fields"):
        read(write(tmp_path / "a.mcap", entries))


def test_a_velocity_that_float32_cannot_hold_is_refused(tmp_path: Path) -> None:
    entries = demonstration()
    entries[2].fields["twist"]["linear"]["x"] = 1e300
    with pytest.raises(DatasetError, match=r"a.mcap: actions\[0\].x: expected a finite number, got inf"):
        read(write(tmp_path / "a.mcap", entries))


def rosbag2(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "metadata.yaml").write_text(
        f"rosbag2_bagfile_information:\n  storage_identifier: mcap\n  relative_file_paths: [{name}]\n"
    )
    return folder


@pytest.mark.parametrize(("late_s", "closes_at"), [(0.0, 5), (0.02, 5), (0.03, 6)])
def test_the_gripper_command_in_force_in_the_middle_of_the_period_counts(
    tmp_path: Path, late_s: float, closes_at: int
) -> None:
    entries = [entry for entry in demonstration() if entry.topic != "/gripper_command"]
    entries += [gripper(0.0, 1.0), gripper(0.25 + late_s, 0.0)]
    entries.sort(key=lambda entry: entry.time_s)
    opening = read(write(tmp_path / "a.mcap", entries)).actions[:, 6]
    np.testing.assert_array_equal(opening, np.arange(10) < closes_at)


def test_an_open_gripper_must_differ_from_a_closed_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gripper_open: expected other than gripper_closed, got 0\.5 for both"):
        McapSource(path=tmp_path, gripper_open=0.5, gripper_closed=0.5)
