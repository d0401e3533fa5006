"""The LIBERO demonstration format; no LIBERO needed."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from vla_ros.data.libero import (
    LiberoDataset,
    Recording,
    exceeds_units,
    libero_from_si,
    merge_files,
    si_from_libero,
    write_file,
)
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
        },
        phase_names=("approach", "close"),
        attributes={"attempt": 3},
    )


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    path = tmp_path / "task_demo.hdf5"
    write_file(path, ATTRIBUTES, [recording()])
    return path


def test_units_are_metres_radians_and_opening() -> None:
    one_unit_open = np.array([1.0, 0, 0, -1.0, 0, 0, -1.0])
    one_unit_closed = np.array([0, 0, -1.0, 0, 0, 1.0, 1.0])
    np.testing.assert_allclose(si_from_libero(one_unit_open), [0.05, 0, 0, -0.5, 0, 0, 1.0])
    np.testing.assert_allclose(si_from_libero(one_unit_closed), [0, 0, -0.05, 0, 0, 0.5, 0.0])
    np.testing.assert_allclose(libero_from_si(si_from_libero(one_unit_open)), one_unit_open, atol=1e-6)


def test_a_delta_beyond_one_unit_is_clipped_as_libero_clips_it() -> None:
    np.testing.assert_allclose(libero_from_si(np.array([0.2, 0, 0, 0, 0, -2.0, 0.0])), [1, 0, 0, 0, 0, -1, 1])


def test_what_was_written_is_read_upright_and_in_si_units(demo: Path) -> None:
    (episode,) = LiberoDataset(demo).episodes()
    written = recording().datasets
    assert episode.instruction == "pick up the soup"
    np.testing.assert_array_equal(episode.images, written["obs/agentview_rgb"][:, ::-1])
    np.testing.assert_allclose(episode.actions, si_from_libero(written["expert_actions"]))
    assert episode.phases == ("approach", "close", "approach", "close")
    assert episode.target_position is not None
    np.testing.assert_array_equal(episode.target_position, written["obs/target_position"])


def test_executed_labels_are_the_noisy_actions(demo: Path) -> None:
    (episode,) = LiberoDataset(demo, labels="executed").episodes()
    np.testing.assert_allclose(episode.actions, si_from_libero(recording().datasets["actions"]))


def test_a_file_without_our_extra_datasets_reads_too(tmp_path: Path) -> None:
    plain = recording()
    for name in ("expert_actions", "expert_phase", "obs/target_position", "obs/goal_position", "obs/ee_pos"):
        del plain.datasets[name]
    write_file(tmp_path / "plain_demo.hdf5", ATTRIBUTES, [plain])
    (episode,) = LiberoDataset(tmp_path).episodes()
    np.testing.assert_allclose(episode.actions, si_from_libero(plain.datasets["actions"]))
    assert (episode.phases, episode.target_position, episode.effector_position) == (None, None, None)


def test_merged_parts_keep_their_order_and_their_attributes(tmp_path: Path) -> None:
    parts = [tmp_path / f"attempt_{i}.hdf5" for i in range(3)]
    for i, part in enumerate(parts):
        write_file(part, ATTRIBUTES, [recording(steps=2 + i, seed=i)])
    merge_files(parts, tmp_path / "task_demo.hdf5")
    assert [len(e.actions) for e in LiberoDataset(tmp_path / "task_demo.hdf5").episodes()] == [2, 3, 4]
    with h5py.File(tmp_path / "task_demo.hdf5") as root:
        assert (root["data"].attrs["num_demos"], root["data"].attrs["total"]) == (3, 9)
        assert root["data/demo_2"].attrs["attempt"] == 3
        assert list(root["data/demo_1/expert_phase"].attrs["names"]) == ["approach", "close"]


def test_a_write_that_fails_leaves_nothing_under_the_files_name(tmp_path: Path) -> None:
    unwritable = recording()
    unwritable.datasets["states"] = np.array([object()])
    with pytest.raises(TypeError):
        write_file(tmp_path / "task_demo.hdf5", ATTRIBUTES, [unwritable])
    with pytest.raises(DatasetError, match="got nothing"):
        LiberoDataset(tmp_path)


def test_a_truncated_file_is_refused(demo: Path) -> None:
    demo.write_bytes(demo.read_bytes()[:1000])
    with pytest.raises(DatasetError, match="expected an HDF5 file"):
        list(LiberoDataset(demo).episodes())


def _break(demo: Path, name: str, values: object) -> None:
    with h5py.File(demo, "r+") as root:
        group = root["data/demo_0"]
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
            r"expert_actions: expected LIBERO units in \[-1, 1\], got a magnitude of 2",
        ),
        ("expert_actions", np.full((4, 7), np.nan), "expert_actions: expected finite numbers, got NaN"),
        ("obs/agentview_rgb", None, r"obs.agentview_rgb: expected numbers \[4, n, n, 3\], got nothing"),
        ("obs/agentview_rgb", np.zeros((4, 6, 5, 3)), "obs.agentview_rgb: expected uint8, got float64"),
        (
            "obs/target_position",
            np.zeros((3, 3)),
            r"obs.target_position: expected numbers \[4, 3\], got float64 \[3, 3\]",
        ),
        ("expert_phase", np.zeros(4, np.uint8), "expert_phase: expected an index below 0"),
    ],
)
def test_a_bad_field_is_named_with_its_path(demo: Path, name: str, values: object, message: str) -> None:
    _break(demo, name, values)
    with pytest.raises(DatasetError, match=message) as error:
        list(LiberoDataset(demo).episodes())
    assert str(error.value).startswith(f"{demo}: data.")


def test_a_missing_instruction_is_named(tmp_path: Path) -> None:
    write_file(tmp_path / "x_demo.hdf5", {"problem_info": "{}"}, [recording()])
    with pytest.raises(DatasetError, match=r"data\.problem_info: expected JSON with a language_instruction"):
        list(LiberoDataset(tmp_path).episodes())


def test_a_delta_beyond_one_unit_is_noticed() -> None:
    assert not exceeds_units(np.array([0.05, -0.05, 0.0, 0.5, 0.0, -0.5]))
    assert exceeds_units(np.array([0.0, 0.0, 0.051, 0.0, 0.0, 0.0]))
    assert exceeds_units(np.array([0.0, 0.0, 0.0, 0.0, -0.51, 0.0]))
