"""CALVIN's layout, written by NumPy as CALVIN's own recorder writes it."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_ros.data.calvin import CalvinDataset, CalvinSource
from vla_ros.errors import DatasetError

TEXTS = ["push the red block to the left", "open the drawer"]
WINDOWS = [(1000003, 1000007), (5, 8)]


def image(frame: int) -> np.ndarray:
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[0, :, 0] = frame % 256  # the first row is the top
    pixels[:, :, 1] = np.arange(20)
    return pixels


def write_frame(folder: Path, frame: int, **changes: Any) -> None:
    fields = {
        "rgb_static": image(frame),
        "rgb_gripper": np.zeros((8, 8, 3), np.uint8),
        "actions": np.full(7, 9.0),
        "rel_actions": np.array([1, -0.5, 0, 0.2, 0, -1, 1 if frame % 2 else -1], np.float64),
        "robot_obs": np.zeros(15),
    }
    present = {name: value for name, value in (fields | changes).items() if value is not None}
    np.savez_compressed(folder / f"episode_{frame:07d}.npz", **present)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "task_ABC_D" / "training"
    (folder / "lang_annotations").mkdir(parents=True)
    for start, end in WINDOWS:
        for frame in range(start, end):  # the frame `end` belongs to what comes after
            write_frame(folder, frame)
    annotate(folder, TEXTS, WINDOWS)
    np.save(folder / "ep_start_end_ids.npy", np.array([[0, 100], [1000000, 1000100]]))
    return tmp_path / "task_ABC_D"


def annotate(folder: Path, texts: Any, windows: Any) -> None:
    stored = {
        "language": {"ann": texts, "task": ["x"] * len(texts), "emb": np.zeros((len(texts), 1, 384), np.float32)},
        "info": {"episodes": [], "indx": windows},
    }
    np.save(folder / "lang_annotations" / "auto_lang_ann.npy", stored, allow_pickle=True)  # type: ignore[arg-type]


def reopen(root: Path) -> CalvinDataset:
    return CalvinSource(path=root).open()


def test_an_episode_is_an_annotated_window_in_si_units(root: Path) -> None:
    dataset = reopen(root)
    assert len(dataset) == 2
    episode = dataset.episode(0)
    assert (episode.instruction, len(episode)) == (TEXTS[0], 4)
    np.testing.assert_allclose(episode.actions[0], [0.02, -0.01, 0, 0.01, 0, -0.05, 1], atol=1e-7)
    np.testing.assert_allclose(episode.actions[:, 6], [1, 0, 1, 0])
    assert (dataset.action.rotation, dataset.action.control_rate_hz) == ("euler_xyz", 30.0)


def test_frames_are_read_one_by_one_after_pickling(root: Path) -> None:
    frames = pickle.loads(pickle.dumps(reopen(root).episode(0).frames))
    np.testing.assert_array_equal(
        frames(np.array([3, 0, 3])), np.stack([image(1000006), image(1000003), image(1000006)])
    )


def test_only_the_frames_that_are_asked_for_are_needed(root: Path) -> None:
    episode = reopen(root).episode(1)
    (root / "training" / "episode_0000006.npz").unlink()
    episode.frames(np.array([0, 2]))
    with pytest.raises(DatasetError, match=r"episode_0000006.npz: rgb_static: expected an array in a whole .npz file"):
        episode.frames(np.array([1]))


def test_both_splits_and_the_root_are_recognised(root: Path) -> None:
    assert CalvinSource.detect(root) == CalvinSource(path=root, split="training")
    assert CalvinSource.detect(root / "training") == CalvinSource(path=root, split="training")
    (root / "training").rename(root / "validation")
    assert CalvinSource.detect(root) == CalvinSource(path=root, split="validation")
    assert CalvinSource.detect(root.parent) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rel_actions": None}, r"episode_0000006.npz: rel_actions: expected an array, got nothing"),
        ({"rel_actions": np.zeros(6)}, r"episode_0000006.npz: rel_actions: expected numbers \[7\], got float64 \[6\]"),
        ({"rel_actions": np.full(7, np.nan)}, r"episode_0000006.npz: rel_actions: expected finite numbers"),
        ({"rel_actions": np.full(7, 1.5)}, r"rel_actions\[1\].x: expected units in \[-1, 1\], got 1.5"),
        (
            {"rel_actions": np.array([0, 0, 0, 0, 0, 0, 7])},
            r"\[1\].gripper: expected -1 \(closed\) to 1 \(open\), got 7",
        ),
        ({"rel_actions": np.array([None] * 7)}, r"episode_0000006.npz: rel_actions: expected an array in a whole"),
    ],
)
def test_bad_actions_are_named_with_their_frame(root: Path, changes: dict[str, Any], message: str) -> None:
    write_frame(root / "training", 6, **changes)
    with pytest.raises(DatasetError, match=message):
        reopen(root).episode(1)


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_a_frame_that_is_not_whole_is_named(root: Path, damage: str) -> None:
    file = root / "training" / "episode_0000007.npz"
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[:100] if damage == "truncated" else b"")
    with pytest.raises(DatasetError, match=r"episode_0000007.npz: rel_actions: expected an array in a whole .npz file"):
        reopen(root).episode(1)


def test_a_frame_of_another_shape_is_named(root: Path) -> None:
    write_frame(root / "training", 6, rgb_static=np.zeros((20, 20), np.uint8))
    with pytest.raises(DatasetError, match=r"episode_0000006.npz: rgb_static: expected uint8 \[n, n, 3\]"):
        reopen(root).episode(1).frames(np.array([1]))
    write_frame(root / "training", 6, rgb_static=np.zeros((20, 10, 3), np.uint8))
    with pytest.raises(DatasetError, match="expected frames of one size"):
        reopen(root).episode(1).frames(np.array([0, 1]))


@pytest.mark.parametrize(
    ("texts", "windows", "message"),
    [
        (["", "b"], WINDOWS, r"language.ann\[0\]: text: expected an instruction, got an empty string"),
        ([b"caf\xe9", "b"], WINDOWS, r"language.ann\[0\]: expected UTF-8 text, got"),
        ([3, "b"], WINDOWS, r"language.ann\[0\]: expected text, got int"),
        (["a", "b"], [(5, 5), (5, 8)], r"info.indx\[0\]: expected 0 <= start < end, got 5 and 5"),
        (["a", "b"], [(5, 6), (5, 8)], r"rel_actions: expected at least 2 steps, got 1"),
        (["a", "b"], [("5", 8), (5, 8)], r"info.indx\[0\]: expected two frame numbers"),
    ],
)
def test_a_bad_annotation_is_named(root: Path, texts: list[Any], windows: list[Any], message: str) -> None:
    annotate(root / "training", texts, windows)
    dataset = reopen(root)
    dataset.episode(1)
    with pytest.raises(DatasetError, match=message):
        dataset.episode(0)


def test_annotations_of_another_form_are_refused(root: Path) -> None:
    annotate(root / "training", ["a"], WINDOWS)
    with pytest.raises(DatasetError, match="expected one text for each window, got 1 texts and 2 windows"):
        reopen(root)
    file = root / "training" / "lang_annotations" / "auto_lang_ann.npy"
    np.save(file, {"language": {}}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"auto_lang_ann.npy: language.ann: expected a list, got NoneType"):
        reopen(root)
    file.unlink()
    with pytest.raises(DatasetError, match=r"auto_lang_ann.npy: expected a readable file"):
        reopen(root)


@pytest.mark.parametrize(("place", "value"), [(4, 255), (6, 1)])
def test_a_damaged_archive_is_named(root: Path, place: int, value: int) -> None:
    """A version that is too new, and a member that says that it is encrypted, in the directory at the end."""
    file = root / "training" / "episode_0000006.npz"
    data = bytearray(file.read_bytes())
    start = data.index(b"PK\1\2")
    while start >= 0:
        data[start + place + 2] = value
        start = data.find(b"PK\1\2", start + 1)
    file.write_bytes(data)
    with pytest.raises(DatasetError, match=r"episode_0000006.npz: rel_actions: expected an array in a whole .npz file"):
        reopen(root).episode(1)
