"""Checkpoints are whole or not there."""

import dataclasses
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from vla_ros.errors import DatasetError, VlaRosError  # noqa: E402
from vla_ros.train import checkpoint  # noqa: E402
from vla_ros.train.checkpoint import Best, State  # noqa: E402


def write(output: Path, state: State, value: float = 0.0) -> Path:
    with checkpoint.staged(output, state) as folder:
        checkpoint.save_tensors(folder / checkpoint.MODEL, {"a": torch.full((2,), value)})
    return checkpoint.path_of(output, state.step)


def names(output: Path) -> list[str]:
    return sorted(path.name for path in (output / checkpoint.FOLDER).iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    state = State(step=7, companions={"statistics.json": "0" * 64}, best=Best(step=5, figure=0.1))
    path = write(tmp_path, state, 3.0)
    found = checkpoint.load_state(path)
    assert dataclasses.replace(found, files={}) == state
    assert list(found.files) == [checkpoint.MODEL]
    assert torch.equal(checkpoint.load_model(path)["a"], torch.full((2,), 3.0))


def test_nothing_of_a_checkpoint_that_could_not_be_written_stays(tmp_path: Path) -> None:
    kept = write(tmp_path, State(step=1, companions={}))
    with (
        pytest.raises(VlaRosError, match=rf"step-00000002: expected to write .*got: .*; {kept} is the last good one"),
        checkpoint.staged(tmp_path, State(step=2, companions={})) as folder,
    ):
        checkpoint.save_tensors(folder / "no such folder" / checkpoint.MODEL, {"a": torch.zeros(2)})
    assert names(tmp_path) == ["step-00000001"]


def test_what_a_killed_process_left_half_written_is_no_checkpoint_and_goes(tmp_path: Path) -> None:
    half = checkpoint.partial_path(tmp_path, 3)
    half.mkdir(parents=True)
    (half / checkpoint.MODEL).write_bytes(b"half")
    assert checkpoint.latest(tmp_path) is None
    write(tmp_path, State(step=3, companions={}))
    assert names(tmp_path) == ["step-00000003"]


def test_the_best_and_the_newest_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        write(tmp_path, State(step=step, companions={}, best=Best(step=1, figure=0.5)))
    checkpoint.prune(tmp_path, State(step=4, companions={}, best=Best(step=1, figure=0.5)), keep_last=2)
    assert names(tmp_path) == ["step-00000001", "step-00000003", "step-00000004"]
    assert checkpoint.best(tmp_path) == checkpoint.path_of(tmp_path, 1)
    assert checkpoint.latest(tmp_path) == checkpoint.path_of(tmp_path, 4)


def test_before_the_first_validation_the_newest_is_the_best(tmp_path: Path) -> None:
    path = write(tmp_path, State(step=1, companions={}))
    assert checkpoint.best(tmp_path) == path


def test_tied_weights_are_stored_for_each_name(tmp_path: Path) -> None:
    weight = torch.arange(4.0)
    checkpoint.save_tensors(tmp_path / "x.safetensors", {"head": weight, "embedding": weight})
    loaded = checkpoint.load_tensors(tmp_path / "x.safetensors")
    assert torch.equal(loaded["head"], loaded["embedding"])


def test_a_run_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="checkpoints: expected a checkpoint of vla-ros train, got none"):
        checkpoint.best(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"step": 1}', '{"step": "one", "companions": {}}'])
def test_a_damaged_state_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, State(step=1, companions={}))
    (path / checkpoint.STATE).write_text(text)
    with pytest.raises(DatasetError, match="step-00000001: expected a checkpoint of vla-ros train, got"):
        checkpoint.load_state(path)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, State(step=1, companions={}))
    content = bytearray((path / checkpoint.MODEL).read_bytes())
    content[-1] ^= 1
    (path / checkpoint.MODEL).write_bytes(content)
    with pytest.raises(
        DatasetError, match=rf"{checkpoint.MODEL}: sha256: expected [0-9a-f]{{64}} as in .*; remove {path}"
    ):
        checkpoint.load_model(path)


def test_a_file_that_was_removed_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, State(step=1, companions={}))
    (path / checkpoint.MODEL).unlink()
    with pytest.raises(DatasetError, match=r"model\.safetensors: expected a file of the checkpoint, got: No such file"):
        checkpoint.load_model(path)
