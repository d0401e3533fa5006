"""RLDS as TensorFlow Datasets wrote it (fixtures/make_rlds.py), against the formulas that it was made of."""

import json
import pickle
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test.data.fixtures import rlds_contents as contents
from vla_ros.data.conventions import LIBERO
from vla_ros.data.episode import Episode
from vla_ros.data.rlds import RldsDataset, RldsSource
from vla_ros.data.sources import detect
from vla_ros.data.tf_example import example_type, parse_features
from vla_ros.data.tfrecord_file import masked_crc32c
from vla_ros.errors import DatasetError

FIXTURES = Path(__file__).parent / "fixtures" / "rlds"
BRIDGE = FIXTURES / "bridge_orig" / "1.0.0"
LIBERO_10 = FIXTURES / "libero_10_no_noops" / "1.0.0"
JPEG_ERROR = 6


def good_episodes(dataset: RldsDataset) -> dict[str, Episode]:
    """By instruction; TFDS shuffles."""
    episodes = {}
    for index in range(len(dataset)):
        try:
            episode = dataset.episode(index)
        except DatasetError:
            continue
        episodes[episode.instruction] = episode
    return episodes


def refusal(dataset: RldsDataset, index: int) -> str:
    try:
        dataset.episode(index)
    except DatasetError as error:
        return str(error)
    return ""


@pytest.fixture
def bridge(tmp_path: Path) -> Path:
    """A copy of the Bridge fixture, to be damaged."""
    return Path(shutil.copytree(BRIDGE, tmp_path / "bridge"))


def test_bridge_actions_are_what_the_arm_did_and_the_first_step_is_left_out() -> None:
    dataset = RldsSource(path=BRIDGE, kind="bridge").open()
    assert len(dataset) == 3
    assert (dataset.action.rotation, dataset.action.control_rate_hz) == ("euler_xyz", 5.0)
    episodes = good_episodes(dataset)
    assert sorted(episodes) == ["close the drawer", "put the pot on the cloth"]
    pot = episodes["put the pot on the cloth"].actions
    # x = 0.3 + 0.01 t^2, z = 0.2 - 0.02 t, roll = 0.01 t, for t = 1 to 4 of 0 to 5
    np.testing.assert_allclose(pot[:, 0], [0.03, 0.05, 0.07, 0.09], atol=1e-6)
    np.testing.assert_allclose(pot[:, 2], -0.02, atol=1e-6)
    np.testing.assert_allclose(pot[:, 3], 0.01, atol=1e-6)
    # the gripper at t = 1 to 5 is 1, 0.7, 0.3, 0.02, 0.5: it closes; the last has no action
    np.testing.assert_array_equal(pot[:, 6], [1, 0, 0, 0])
    drawer = episodes["close the drawer"].actions
    np.testing.assert_allclose(drawer[:, 5], 0.05, atol=1e-5)  # across pi
    np.testing.assert_array_equal(drawer[:, 6], [0, 1, 1, 1])


def test_bridge_frames_belong_to_their_actions() -> None:
    episode = good_episodes(RldsSource(path=BRIDGE, kind="bridge").open())["close the drawer"]
    frames = pickle.loads(pickle.dumps(episode.frames))(np.array([3, 0]))
    for frame, step in zip(frames, (4, 1), strict=True):
        assert np.abs(frame.astype(int) - contents.image(2, step)).mean() < JPEG_ERROR


def test_libero_frames_are_upright_and_not_mirrored_and_actions_in_si_units() -> None:
    episodes = good_episodes(RldsSource(path=LIBERO_10, kind="libero").open())
    assert sorted(episodes) == sorted(contents.LIBERO_INSTRUCTIONS)
    episode = episodes["open the drawer"]
    frames = episode.frames(np.arange(contents.STEPS))
    expected = np.stack([contents.image(1, step) for step in range(contents.STEPS)])
    assert np.abs(frames.astype(int) - expected).mean() < JPEG_ERROR
    units = np.stack([contents.libero_action(1, step) for step in range(contents.STEPS)])
    np.testing.assert_allclose(episode.actions, LIBERO.to_si(units), atol=1e-6)
    np.testing.assert_array_equal(episode.actions[:, 6], [1, 1, 1, 0, 0, 0])


def test_the_kind_is_recognised_by_its_camera(tmp_path: Path) -> None:
    assert detect(BRIDGE).rlds == RldsSource(path=BRIDGE, kind="bridge")
    assert detect(LIBERO_10).rlds == RldsSource(path=LIBERO_10, kind="libero")
    assert RldsSource.detect(tmp_path) is None


def test_another_kinds_data_set_is_refused() -> None:
    with pytest.raises(
        DatasetError, match=r"features.json: steps: expected observation/image, got .*observation/image_0"
    ):
        RldsSource(path=BRIDGE, kind="libero").open()


def test_a_split_that_does_not_exist_is_named() -> None:
    with pytest.raises(DatasetError, match=r"dataset_info.json: splits: expected 'val', got train"):
        RldsSource(path=BRIDGE, kind="bridge", split="val").open()


def test_a_folder_without_its_version_is_refused_with_a_hint() -> None:
    with pytest.raises(DatasetError, match=r"features.json: .* No such file or directory; there is one in .*1\.0\.0$"):
        RldsSource(path=BRIDGE.parent, kind="bridge").open()


def test_an_episode_without_an_instruction_is_refused() -> None:
    dataset = RldsSource(path=BRIDGE, kind="bridge").open()
    (message,) = filter(None, (refusal(dataset, index) for index in range(len(dataset))))
    assert re.search(r"record\[\d\].steps.language_instruction: text: expected an instruction, got an empty", message)


def test_a_truncated_shard_keeps_its_whole_episodes(bridge: Path) -> None:
    shard = bridge / "bridge_dataset-train.tfrecord-00000-of-00002"
    shard.write_bytes(shard.read_bytes()[:-100])
    dataset = RldsSource(path=bridge, kind="bridge").open()
    assert len(dataset) == 3
    with pytest.raises(DatasetError, match=r"00000-of-00002: record\[1\]: expected an episode, got a file that ends"):
        dataset.episode(1)


def test_a_missing_shard_is_named(bridge: Path) -> None:
    (bridge / "bridge_dataset-train.tfrecord-00001-of-00002").unlink()
    with pytest.raises(DatasetError, match=r"00001-of-00002: record\[0\]: expected an episode, got no such file"):
        RldsSource(path=bridge, kind="bridge").open().episode(2)


def test_a_damaged_episode_is_noticed_by_its_checksum(bridge: Path) -> None:
    shard = bridge / "bridge_dataset-train.tfrecord-00001-of-00002"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match=r"record\[0\]: expected data that fit their checksum, got damaged ones"):
        RldsSource(path=bridge, kind="bridge").open().episode(2)


def test_a_frame_that_is_damaged_after_the_scan_is_named(bridge: Path) -> None:
    dataset = RldsSource(path=bridge, kind="bridge").open()
    episode = dataset.episode(next(index for index in range(3) if not refusal(dataset, index)))
    assert hasattr(episode.frames, "file")
    episode.frames.file.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"record\[\d\]: frame 2: expected"):
        episode.frames(np.array([2]))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("dataset_info.json", "{", r"dataset_info.json: expected JSON"),
        ("dataset_info.json", "[]", r"dataset_info.json: expected a mapping, got list"),
        ("dataset_info.json", json.dumps({"fileFormat": "array_record"}), "fileFormat: expected tfrecord, got 'array"),
        ("dataset_info.json", json.dumps({"splits": ["train"]}), r"dataset_info.json: expected TFDS's description"),
        ("features.json", "{}", r"features.json: expected the schema of RLDS episodes, got: KeyError"),
    ],
)
def test_a_wrong_description_is_named(bridge: Path, file: str, content: str, message: str) -> None:
    (bridge / file).write_text(content)
    with pytest.raises(DatasetError, match=message):
        RldsSource(path=bridge, kind="bridge").open()


def test_more_episodes_than_stated_are_refused(bridge: Path) -> None:
    info = json.loads((bridge / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["1", "1"]
    (bridge / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(DatasetError, match=r"splits.train.shardLengths\[0\]: expected 2 as in"):
        RldsSource(path=bridge, kind="bridge").open()


def write_episode(folder: Path, **changes: list[object]) -> RldsDataset:
    """A data set of one LIBERO episode, some of whose features are others."""
    values = {"image": [b"\x00" * 50] * 3, "action": [0.0] * 21, "text": [b"go"] * 3} | changes
    example = example_type()()
    for name, key, kind in (
        ("image", "observation/image", "bytes_list"),
        ("action", "action", "float_list"),
        ("text", "language_instruction", "bytes_list"),
    ):
        entry = example.features.feature.add(key=f"steps/{key}")
        getattr(entry.value, kind).value.extend(values[name])
    shutil.copy(LIBERO_10 / "features.json", folder)
    info = {"name": "x", "splits": [{"name": "train", "shardLengths": ["1"]}]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    data = example.SerializeToString()
    size = struct.pack("<Q", len(data))
    record = size + struct.pack("<I", masked_crc32c(size)) + data + struct.pack("<I", masked_crc32c(data))
    (folder / "x-train.tfrecord-00000-of-00001").write_bytes(record)
    return RldsSource(path=folder, kind="libero").open()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": [0.0] * 14}, r"record\[0\].steps.action: expected numbers \[3, 7\] as there are 3 frames, got 14"),
        ({"action": [0.0] * 15 + [float("nan")] * 6}, r"steps.action\[2\].y: expected a finite number, got nan"),
        ({"action": [3.0] * 21}, r"steps.action\[0\].x: expected units in \[-1, 1\], got 3"),
        ({"text": [b"caf\xe9"] * 3}, r"steps.language_instruction: expected UTF-8 text, got .* at byte 3"),
        ({"text": [b"a", b"b", b"b"]}, r"language_instruction: expected one instruction at 3 steps, got 2 at 3"),
        ({"text": [b"a"] * 2}, r"language_instruction: expected one instruction at 3 steps, got 1 at 2"),
        ({"image": [b"x"], "action": [0.0] * 7, "text": [b"a"]}, r"steps: expected at least 2 steps, got 1"),
        ({"image": []}, r"steps.observation.image: expected an entry for each step, got nothing"),
    ],
)
def test_a_bad_episode_is_named_with_its_step(tmp_path: Path, changes: dict[str, list[object]], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        write_episode(tmp_path, **changes).episode(0)


def test_what_is_no_example_is_named() -> None:
    with pytest.raises(DatasetError, match=r"x: expected a tf.train.Example, got: "):
        parse_features(b"\xff" * 9, "x")


def test_what_is_no_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    episode = write_episode(tmp_path).episode(0)
    with pytest.raises(DatasetError, match=r"record\[0\]: frame 1: expected a whole JPEG or PNG file, got 50 bytes"):
        episode.frames(np.array([1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../other"}, r"splits.train: expected shards in its folder, got '../other-train"),
        ({"name": "/other"}, r"splits.train: expected shards in its folder, got '/other-train"),
        ({"shards": ["1000000000000"]}, r"splits.train.shardLengths\[0\]: expected 0 to 1000000, got 1000000000000"),
        ({"shards": [1e400]}, r"expected TFDS's description of its files, got: OverflowError"),
    ],
)
def test_a_description_leads_neither_out_of_its_folder_nor_out_of_memory(
    bridge: Path, changes: dict[str, Any], message: str
) -> None:
    path = bridge / "dataset_info.json"
    info = json.loads(path.read_text())
    info["splits"][0]["shardLengths"] = changes.pop("shards", info["splits"][0]["shardLengths"])
    path.write_text(json.dumps(info | changes))
    with pytest.raises(DatasetError, match=rf"dataset_info.json: {message}"):
        RldsSource(path=bridge, kind="bridge").open()
