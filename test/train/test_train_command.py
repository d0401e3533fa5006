"""`vla-ros train` as a person uses it: real processes that are killed, launched twice or run out of disk."""

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test.tiny_policy import write_config  # noqa: E402
from vla_ros.cli import main  # noqa: E402
from vla_ros.train import checkpoint  # noqa: E402

SPEED = ("samples_per_s", "mfu_percent")
ACCELERATE = Path(__file__).resolve().parents[2] / "config/train/accelerate"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def read_metrics(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in SPEED} for row in rows]


def weights_of(run: Path, name: str = checkpoint.TRAINING) -> dict[str, "torch.Tensor"]:
    newest = checkpoint.latest(run)
    assert newest is not None
    return checkpoint.load_tensors(newest / name)


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("vla-ros train: ")]
    return line


@pytest.fixture(scope="module")
def whole(demonstrations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of eight updates."""
    folder = tmp_path_factory.mktemp("whole")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(["train", str(write_config(folder / "c.yaml", demonstrations, folder / "run", steps=8))]) == 0
    torch.set_num_threads(threads)
    return folder / "run"


def test_a_killed_run_goes_on_and_ends_as_the_uninterrupted_one(
    demonstrations: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    path = write_config(tmp_path / "c.yaml", demonstrations, run, steps=8)
    # each batch takes a moment, so that the kill comes in the middle
    slow = (
        "import time; from vla_ros.train.policy_batches import PolicyBatches as P; b = P.batch;"
        "P.batch = lambda *a: (time.sleep(0.2), b(*a))[1]; from vla_ros.cli import main;"
        f"main(['train', {str(path)!r}])"
    )
    process = subprocess.Popen([sys.executable, "-c", slow], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    while not checkpoint.path_of(run, 4).exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not checkpoint.path_of(run, 8).exists()

    command = [sys.executable, "-m", "vla_ros.cli", "train", str(path)]
    resumed = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert f"resuming {run} after step " in resumed.stdout
    assert read_metrics(run) == read_metrics(whole)
    for name in (checkpoint.MODEL, checkpoint.TRAINING):
        expected = weights_of(whole, name)
        found = weights_of(run, name)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


def test_two_processes_train_what_one_does(demonstrations: Path, whole: Path, tmp_path: Path) -> None:
    path = write_config(tmp_path / "c.yaml", demonstrations, tmp_path / "run", steps=8)
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(ACCELERATE / "ddp_2cpu.yaml")]
    launch += ["--main_process_port", "0"]  # any free one
    command = [sys.executable, *launch, "-m", "vla_ros.cli", "train", str(path)]
    finished = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "8 steps of 8 samples in 2 processes" in finished.stdout
    assert finished.stdout.count("done, best: ") == 1  # only the main process speaks
    for row, expected in zip(read_metrics(tmp_path / "run"), read_metrics(whole), strict=True):
        assert row == pytest.approx(expected, rel=1e-3)
    found = weights_of(tmp_path / "run")
    for name, tensor in weights_of(whole).items():
        if name.startswith("weights/"):
            torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5)


def test_a_full_disk_stops_with_the_last_good_checkpoint_and_leaves_no_half_one(
    demonstrations: Path, tmp_path: Path
) -> None:
    """The limit on a file's size makes the same system call fail as a full disk does."""
    run = tmp_path / "run"
    path = write_config(tmp_path / "c.yaml", demonstrations, run, steps=2)
    assert main(["train", str(path)]) == 0
    (run / "train.yaml").write_text((run / "train.yaml").read_text().replace("steps: 2", "steps: 4"))
    path = write_config(tmp_path / "c.yaml", demonstrations, run, steps=4)
    size = (checkpoint.path_of(run, 2) / checkpoint.MODEL).stat().st_size

    finished = subprocess.run(
        [sys.executable, "-m", "vla_ros.cli", "train", str(path)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2)),
    )
    assert finished.returncode == 2
    kept = run / "checkpoints/step-00000002"
    assert "expected to write the checkpoint, got: " in finished.stderr
    assert f"{kept} is the last good one" in finished.stderr
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000002"]
    assert main(["train", str(path)]) == 0  # with space again, it goes on
    assert read_metrics(run)[-1]["step"] == 4


def test_another_config_does_not_go_on_in_the_same_folder(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text((tiny_run / "train.yaml").read_text().replace("learning_rate: 0.001", "learning_rate: 0.002"))
    assert main(["train", str(other)]) == 2
    line = error_of(capsys)
    assert f"{other}: optimizer.learning_rate: expected 0.001 as in {tiny_run / 'train.yaml'}, with which" in line
    assert "got 0.002; name another `output` or remove that folder" in line


def test_a_run_does_not_go_on_with_other_demonstrations_and_keeps_its_files(
    demonstrations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(demonstrations, tmp_path / "data"))
    path, run = write_config(tmp_path / "train.yaml", folder, tmp_path / "run", steps=2), tmp_path / "run"
    assert main(["train", str(path)]) == 0
    kept = {name: (run / name).read_bytes() for name in ("statistics.json", "tokenizer.json")}
    other = Path(shutil.copy(folder / "soup_demo.hdf5", tmp_path / "other.hdf5"))
    with h5py.File(other, "r+") as file:
        file["data/demo_1/expert_actions"][...] *= 0.5
        file["data"].attrs["problem_info"] = '{"language_instruction": "polish the unfamiliar kettle"}'
    other.replace(folder / "soup_demo.hdf5")
    capsys.readouterr()
    assert main(["train", str(path)]) == 2
    line = error_of(capsys)
    for name, content in kept.items():
        assert f"{name} of sha256 {hashlib.sha256(content).hexdigest()}, got " in line
        assert (run / name).read_bytes() == content
    assert "put the demonstrations back, or name another `output`" in line


def test_a_bad_episode_stops_before_training_or_is_left_out_and_listed(
    demonstrations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(demonstrations, tmp_path / "data"))
    with h5py.File(folder / "soup_demo.hdf5", "r+") as file:
        file["data/demo_1/expert_actions"][3, 2] = np.nan
    path = write_config(tmp_path / "train.yaml", folder, tmp_path / "run", steps=2)
    assert main(["train", str(path)]) == 2
    assert "soup_demo.hdf5: data.demo_1.expert_actions" in error_of(capsys)
    assert not (tmp_path / "run").exists()

    assert main(["train", str(path), "--skip-bad"]) == 0
    printed = capsys.readouterr().out
    assert f"left out: {folder}/soup_demo.hdf5: data.demo_1" in printed
    assert "(1 left out)" in printed


def test_a_plan_is_printed_and_nothing_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path / "train.yaml", tmp_path / "no_such_data", tmp_path / "run")
    assert main(["train", str(path), "--plan"]) == 0
    assert "total of one process" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
