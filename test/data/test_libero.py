"""The LIBERO demonstration format; no LIBERO needed."""

import json
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from vla_ros.data.conventions import LIBERO
from vla_ros.data.episode import Episode
from vla_ros.data.libero import Labels, LiberoDataset, LiberoSource
from vla_ros.data.libero_writer import Recording, write_file
from vla_ros.errors import DatasetError

ATTRIBUTES = {"problem_info": json.dumps({"language_instruction": "pick up the soup"})}


def recording(steps: int = 4, height: int = 6, width: int = 5, seed: int = 0) -> Recording:
    random = np.random.default_rng(seed)
    actions = random.uniform(-1, 1, (steps, 7))
    return Recording(
        datasets={
            "actions": actions,
            "expert_actions": actions / 2,
            "expert_phase": np.arange(steps, dtype=np.uint8) % 2,
            "states": random.normal(size=(steps, 9)),
            "obs/agentview_rgb": random.integers(0, 256, (steps, height, width, 3), dtype=np.uint8),
            "obs/ee_pos": random.normal(size=(steps, 3)),
            "obs/target_position": random.normal(size=(steps, 3)).astype(np.float32),
            "obs/goal_position": random.normal(size=(steps, 3)).astype(np.float32),
            "obs/other_positions": random.normal(size=(steps, 2, 3)).astype(np.float32),
        },
        phase_names=("approach", "close"),
        other_instructions=("pick up the milk", "pick up the butter"),
        attributes={"attempt": 3},
    )


def read(path: Path, labels: Labels = "expert") -> list[Episode]:
    dataset = LiberoSource(path=path, labels=labels).open()
    return [dataset.episode(index) for index in range(len(dataset))]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    path = tmp_path / "task_demo.hdf5"
    write_file(path, ATTRIBUTES, [recording()])
    return path


def test_what_was_written_is_read_upright_and_in_si_units(demo: Path) -> None:
    (episode,) = read(demo)
    written = recording().datasets
    assert episode.instruction == "pick up the soup"
    steps = np.array([2, 0, 2])
    np.testing.assert_array_equal(episode.frames(steps), written["obs/agentview_rgb"][steps, ::-1])
    np.testing.assert_allclose(episode.actions, LIBERO.to_si(written["expert_actions"]))
    assert episode.phases == ("approach", "close", "approach", "close")
    assert episode.target_position is not None
    np.testing.assert_array_equal(episode.target_position, written["obs/target_position"])
    assert list(episode.other_positions) == ["pick up the milk", "pick up the butter"]
    np.testing.assert_array_equal(episode.other_positions["pick up the butter"], written["obs/other_positions"][:, 1])


def test_frames_of_the_other_image_convention_are_upright_already(tmp_path: Path) -> None:
    file = tmp_path / "task_demo.hdf5"
    write_file(file, ATTRIBUTES | {"macros_image_convention": "opencv"}, [recording()])
    (episode,) = read(file)
    np.testing.assert_array_equal(episode.frames(np.arange(4)), recording().datasets["obs/agentview_rgb"])
    write_file(file, ATTRIBUTES | {"macros_image_convention": "vulkan"}, [recording()])
    with pytest.raises(DatasetError, match=r"data.macros_image_convention: expected opengl or opencv, got 'vulkan'"):
        read(file)


def test_executed_labels_are_the_noisy_actions(demo: Path) -> None:
    (episode,) = read(demo, labels="executed")
    np.testing.assert_allclose(episode.actions, LIBERO.to_si(recording().datasets["actions"]))


def test_a_file_without_our_extra_datasets_reads_too(tmp_path: Path) -> None:
    plain = recording()
    for name in ("expert_actions", "expert_phase", "obs/target_position", "obs/goal_position", "obs/ee_pos"):
        del plain.datasets[name]
    write_file(tmp_path / "plain_demo.hdf5", ATTRIBUTES, [plain])
    (episode,) = read(tmp_path)
    np.testing.assert_allclose(episode.actions, LIBERO.to_si(plain.datasets["actions"]))
    assert (episode.phases, episode.target_position, episode.effector_position) == (None, None, None)


def test_steps_that_were_not_drawn_are_known(tmp_path: Path) -> None:
    sparse = recording()
    sparse.datasets["has_image"] = np.array([1, 0, 0, 1], np.uint8)
    write_file(tmp_path / "sparse_demo.hdf5", ATTRIBUTES, [sparse])
    (episode,) = read(tmp_path)
    assert (len(episode), episode.seen_steps.tolist()) == (4, [0, 3])


def test_a_truncated_file_is_refused(demo: Path) -> None:
    demo.write_bytes(demo.read_bytes()[:1000])
    with pytest.raises(DatasetError, match="expected a whole HDF5 file"):
        read(demo)


def test_an_unreadable_file_is_one_bad_episode_among_the_good_ones(demo: Path) -> None:
    (demo.parent / "broken_demo.hdf5").write_bytes(demo.read_bytes()[:1000])
    dataset = LiberoDataset(demo.parent)
    assert len(dataset) == 2
    assert dataset.episode(1).instruction == "pick up the soup"
    with pytest.raises(DatasetError, match=r"broken_demo.hdf5: expected a whole HDF5 file"):
        dataset.episode(0)


def test_a_damaged_frame_is_named_when_it_is_read(tmp_path: Path) -> None:
    demo, black = tmp_path / "task_demo.hdf5", recording()
    black.datasets["obs/agentview_rgb"] = np.zeros((4, 32, 32, 3), np.uint8)  # which is stored compressed
    write_file(demo, ATTRIBUTES, [black])
    (episode,) = read(demo)
    with h5py.File(demo) as root:
        chunk = root["data/demo_0/obs/agentview_rgb"].id.get_chunk_info(2)
    with demo.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * chunk.size)
    with pytest.raises(DatasetError, match=r"task_demo.hdf5: data.demo_0.obs.agentview_rgb\[2\]: expected a frame"):
        episode.frames(np.array([0, 2]))


def test_worker_processes_read_frames_that_this_process_has_read_before(demo: Path) -> None:
    (episode,) = read(demo)
    here = episode.frames(np.arange(4))
    for method in ("fork", "spawn"):
        with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
            np.testing.assert_array_equal(pool.submit(episode.frames, np.arange(4)).result(), here)


def test_liberos_own_file_reads_by_its_own_conventions(tmp_path: Path) -> None:
    """As LIBERO's create_dataset.py lays it out: float64 units, no compression, two cameras, a quoted instruction."""
    frames = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    unit = [[1, 0, 0, 0, 0, 0, -1], [0, -0.5, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1, 1]]
    with h5py.File(tmp_path / "KITCHEN_SCENE1_open_the_drawer_demo.hdf5", "w") as root:
        data = root.create_group("data")
        data.attrs["problem_info"] = json.dumps(
            {"problem_name": "x", "domain_name": "robosuite", "language_instruction": ['"', "open ", "the drawer", '"']}
        )
        for name in ("demo_10", "demo_9"):  # by number, not by name
            demo = data.create_group(name)
            demo["actions"] = np.array(unit) * (1.0 if name == "demo_9" else 0.5)
            demo["obs/agentview_rgb"] = frames
            demo["obs/eye_in_hand_rgb"] = frames
            demo["obs/ee_pos"] = np.ones((3, 3))
            demo["robot_states"] = np.ones((3, 9))
    first, second = read(tmp_path)
    assert first.instruction == "open the drawer"
    assert first.name.endswith("KITCHEN_SCENE1_open_the_drawer_demo.hdf5: data.demo_9")
    expected = [[0.05, 0, 0, 0, 0, 0, 1], [0, -0.025, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0.5, 0]]
    np.testing.assert_allclose(first.actions, expected, atol=1e-7)
    np.testing.assert_allclose(second.actions[0], [0.025, 0, 0, 0, 0, 0, 0.75], atol=1e-7)
    np.testing.assert_array_equal(first.frames(np.array([1]))[0, 0], frames[1, 3])  # the last row is on top


def nan_at(step: int, column: int) -> np.ndarray:
    values = np.zeros((4, 7))
    values[step, column] = np.nan
    return values


def _break(demo: Path, name: str, values: object) -> None:
    with h5py.File(demo, "r+") as root:
        group = root["data/demo_0"]
        if name in group:
            del group[name]
        if values is not None:
            group[name] = values


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "expert_actions",
            np.zeros((4, 6)),
            r"data.demo_0.expert_actions: expected numbers \[n, 7\], got float64 \[4, 6\]",
        ),
        (
            "expert_actions",
            np.full((4, 7), 2.0),
            r"expert_actions\[0\].x: expected units in \[-1, 1\], got 2",
        ),
        ("expert_actions", nan_at(2, 5), r"expert_actions\[2\].rz: expected a finite number, got nan"),
        ("obs/agentview_rgb", None, r"obs.agentview_rgb: expected numbers \[4, n, n, 3\], got nothing"),
        ("obs/agentview_rgb", np.zeros((4, 6, 5, 3)), "obs.agentview_rgb: expected uint8, got float64"),
        (
            "obs/target_position",
            np.zeros((3, 3)),
            r"obs.target_position: expected numbers \[4, 3\], got float64 \[3, 3\]",
        ),
        (
            "obs/other_positions",
            np.zeros((4, 2, 3)),
            r"obs.other_positions: expected numbers \[4, 0, 3\], got float64 \[4, 2, 3\]",  # the attr is gone
        ),
        ("obs/ee_pos", nan_at(1, 0)[:, :3], r"obs.ee_pos\[1\]: expected finite numbers"),
        ("expert_actions", np.zeros((1, 7)), "expert_actions: expected at least 2 steps, got 1"),
        ("expert_phase", np.zeros(4, np.uint8), "expert_phase: expected an index below 0"),
        ("has_image", np.zeros(4, np.uint8), "has_image: expected at least one step with an image, got none"),
        ("has_image", np.ones(3, np.uint8), r"has_image: expected numbers \[4\], got uint8 \[3\]"),
    ],
)
def test_a_bad_field_is_named_with_its_path(demo: Path, name: str, values: object, message: str) -> None:
    _break(demo, name, values)
    with pytest.raises(DatasetError, match=message) as error:
        read(demo)
    assert str(error.value).startswith(f"{demo}: data.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected an instruction, got an empty string"),
        ("open the\u0000 drawer", r"expected printable UTF-8 text, got U\+0000 at position 8"),
        ("caf\ufffd", r"expected printable UTF-8 text, got U\+FFFD"),
        (7, "expected text, got int"),
    ],
)
def test_an_instruction_that_no_policy_should_see_is_refused(tmp_path: Path, text: object, message: str) -> None:
    write_file(tmp_path / "x_demo.hdf5", {"problem_info": json.dumps({"language_instruction": text})}, [recording()])
    with pytest.raises(DatasetError, match=rf"data\.problem_info\.language_instruction: (text: )?{message}"):
        read(tmp_path)


def test_a_missing_instruction_is_named(tmp_path: Path) -> None:
    write_file(tmp_path / "x_demo.hdf5", {"problem_info": "{}"}, [recording()])
    with pytest.raises(DatasetError, match=r"data\.problem_info: expected JSON with a language_instruction"):
        read(tmp_path)


def test_whichever_byte_is_damaged_the_file_is_named_in_one_line(demo: Path) -> None:
    """h5py raises half a dozen types of errors on damaged structures."""
    whole = demo.read_bytes()
    random = np.random.default_rng(0)
    refusals = []
    for number, place in enumerate(random.integers(0, len(whole), 300).tolist()):
        data = bytearray(whole)
        data[place] = 0xFF - data[place]
        path = demo.with_name(f"{number}.hdf5")
        path.write_bytes(data)
        try:
            LiberoDataset(path).episode(0).frames(np.arange(4))
        except DatasetError as error:
            refusals.append(str(error))
    assert len(refusals) > 20
    assert all(
        re.fullmatch(rf"{demo.parent}/\d+\.hdf5: expected .+|{demo.parent}/\d+\.hdf5: data.+", line)
        for line in refusals
    )


def test_brackets_in_names_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "run [1]"
    folder.mkdir()
    file = folder / "x[2]_demo.hdf5"
    write_file(file, ATTRIBUTES, [recording()])
    assert len(read(folder)) == len(read(file)) == 1
    assert len(read(tmp_path / "run*" / "*.hdf5")) == 1
