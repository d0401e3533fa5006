"""The one look at all episodes before training."""

import os
from pathlib import Path

import numpy as np
import pytest

from test.data.test_libero import ATTRIBUTES, nan_at, recording
from vla_ros.data.episode import Episode, EpisodeDataset
from vla_ros.data.libero import LiberoDataset
from vla_ros.data.libero_writer import write_file
from vla_ros.data.scan import scan
from vla_ros.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good episodes, one with NaN as the second, and a truncated file."""
    recordings = [recording(seed=seed) for seed in range(4)]
    recordings[1].datasets["expert_actions"] = nan_at(2, 6)
    write_file(tmp_path / "a_demo.hdf5", ATTRIBUTES, recordings)
    (tmp_path / "b_demo.hdf5").write_bytes((tmp_path / "a_demo.hdf5").read_bytes()[:2000])
    return tmp_path


def test_the_first_bad_episode_stops_and_is_named(folder: Path) -> None:
    with pytest.raises(DatasetError) as error:
        scan(LiberoDataset(folder))
    expected = f"{folder}/a_demo.hdf5: data.demo_1.expert_actions[2].gripper: expected a finite number, got nan"
    assert str(error.value) == f"{expected}; --skip-bad leaves such episodes out"


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_episodes_are_left_out_and_listed_when_asked(folder: Path, workers: int) -> None:
    result = scan(LiberoDataset(folder), skip_bad=True, workers=workers)
    assert [episode.name.rsplit(".", 1)[1] for episode in result.episodes] == ["demo_0", "demo_2", "demo_3"]
    assert len(result.left_out) == 2
    assert "data.demo_1.expert_actions[2].gripper" in result.left_out[0]
    assert "b_demo.hdf5: expected a whole HDF5 file" in result.left_out[1]
    assert result.episodes[2].frames(np.array([0])).shape == (1, 6, 5, 3)


def test_a_bad_episode_stops_the_workers_too(folder: Path) -> None:
    with pytest.raises(DatasetError, match="demo_1"):
        scan(LiberoDataset(folder), workers=1)


def test_a_data_set_without_a_good_episode_is_an_error(folder: Path) -> None:
    (folder / "a_demo.hdf5").unlink()
    with pytest.raises(DatasetError, match="at least one good episode, got 1 that were left out, the first because of"):
        scan(LiberoDataset(folder), skip_bad=True)


def test_progress_can_be_silenced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan(LiberoDataset(folder), skip_bad=True, show_progress=False)
    assert capsys.readouterr().err == ""
    scan(LiberoDataset(folder), skip_bad=True)
    assert "reading episodes: 100%" in capsys.readouterr().err


class Deadly(EpisodeDataset):
    """Takes its reading process with it, as a library that crashes on a damaged file does."""

    source = "data/x"

    def __len__(self) -> int:
        return 3

    def episode(self, index: int) -> Episode:
        os._exit(1)


def test_a_reading_process_that_dies_is_an_error_in_one_line() -> None:
    with pytest.raises(DatasetError, match=r"^data/x: expected reading processes to live, got one that died"):
        scan(Deadly(), workers=1, show_progress=False)
