"""The same config goes on; another one is refused by the name of what differs."""

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("torch")

from test.train.linear_task import run_config
from vla_ros.train import run_folder


def test_the_first_field_that_differs_is_named_with_both_values(tmp_path: Path) -> None:
    ours = run_config(tmp_path)
    optimizer = dataclasses.replace(ours.optimizer, batch_size=16)
    assert run_folder.first_difference(ours, dataclasses.replace(ours, optimizer=optimizer)) == (
        "optimizer.batch_size",
        8,
        16,
    )


def test_a_folder_that_was_moved_is_the_same_run(tmp_path: Path) -> None:
    assert run_folder.first_difference(run_config(tmp_path / "a"), run_config(tmp_path / "b")) is None


def test_a_folder_without_a_checkpoint_is_begun_anew(tmp_path: Path) -> None:
    settings = run_config(tmp_path)
    run_folder.begin(settings, {"notes.txt": "a line"})
    assert (tmp_path / "notes.txt").read_text() == "a line"
    assert run_folder.find_checkpoint(settings, tmp_path / "c.yaml") is None
