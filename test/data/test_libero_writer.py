"""Files in LIBERO's layout: whole, or not there."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from test.data.test_libero import ATTRIBUTES, read, recording
from vla_ros.data.libero import LiberoDataset
from vla_ros.data.libero_writer import merge_files, write_file
from vla_ros.errors import DatasetError


def test_merged_parts_keep_their_order_and_their_attributes(tmp_path: Path) -> None:
    parts = [tmp_path / f"attempt_{i}.hdf5" for i in range(3)]
    for i, part in enumerate(parts):
        write_file(part, ATTRIBUTES, [recording(steps=2 + i, seed=i)])
    merge_files(parts, tmp_path / "task_demo.hdf5")
    assert [len(episode) for episode in read(tmp_path / "task_demo.hdf5")] == [2, 3, 4]
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
