"""Weights that no process holds alone: accelerate's FSDP, really run, in two CPU processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from test.tiny_policy import write_config  # noqa: E402
from vla_ros import config  # noqa: E402
from vla_ros.train import checkpoint  # noqa: E402
from vla_ros.train.config import TrainConfig  # noqa: E402
from vla_ros.train.data import load_data  # noqa: E402
from vla_ros.train.loop import TrainingLoop  # noqa: E402
from vla_ros.train.policy_task import PolicyTask  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def run_sharded(path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command += ["-m", "test.train.sharded_run", str(path)]
    finished = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def losses_of(run: Path) -> list[list[float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [[row["loss"], row["gradient_norm"], row["val_loss"]] for row in rows]


@pytest.mark.slow
def test_sharded_weights_train_resume_and_are_gathered_as_whole_ones(demonstrations: Path, tmp_path: Path) -> None:
    options = {"ema_decay": None, "accumulation_steps": 2, "gradient_clip": 0.5}
    path = write_config(tmp_path / "sharded.yaml", demonstrations, tmp_path / "sharded", **options)
    path.write_text(path.read_text() + "keep_last: 2\n")
    run_sharded(path)
    sharded = tmp_path / "sharded"
    first = checkpoint.load_model(checkpoint.path_of(sharded, 4))
    shutil.rmtree(checkpoint.path_of(sharded, 4))
    expected = losses_of(sharded)
    run_sharded(path)  # from step 2
    assert losses_of(sharded) == expected
    resumed = checkpoint.load_model(checkpoint.path_of(sharded, 4))
    assert all(torch.equal(resumed[name], tensor) for name, tensor in first.items())

    path = write_config(tmp_path / "whole.yaml", demonstrations, tmp_path / "whole", **options)
    settings = config.load(path, TrainConfig)
    TrainingLoop(settings, PolicyTask(settings, load_data(settings, show_progress=False))).run()
    whole = checkpoint.load_model(checkpoint.path_of(tmp_path / "whole", 4))
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-3, atol=1e-5)
    for row, one in zip(losses_of(sharded), losses_of(tmp_path / "whole"), strict=True):
        assert row == pytest.approx(one, rel=1e-4)
