"""Weights that no process holds alone: accelerate's FSDP, really run, in two CPU processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch")

from accelerate.commands.launch import _validate_launch_command, launch_command_parser  # noqa: E402
from accelerate.utils.launch import prepare_multi_gpu_env  # noqa: E402

from test.tiny_policy import write_config  # noqa: E402
from vla_ros import config  # noqa: E402
from vla_ros.train import checkpoint  # noqa: E402
from vla_ros.train.config import TrainConfig  # noqa: E402
from vla_ros.train.data import load_data  # noqa: E402
from vla_ros.train.loop import TrainingLoop  # noqa: E402
from vla_ros.train.policy_task import PolicyTask  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {"ema_decay": None, "accumulation_steps": 2, "gradient_clip": 0.5}


def fsdp_environment() -> dict[str, str]:
    """What `accelerate launch` sets for the shipped file."""
    file = str(ROOT / "config/train/accelerate/fsdp_8gpu.yaml")
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(["--config_file", file, "script.py"]))
    names = prepare_multi_gpu_env(args).items()
    return {name: value for name, value in names if name.startswith(("FSDP_", "ACCELERATE_USE_FSDP"))}


def write(folder: Path, demonstrations: Path, name: str, options: dict[str, Any], **fields: Any) -> Path:
    path = write_config(folder / f"{name}.yaml", demonstrations, folder / name, **options)
    settings = yaml.safe_load(path.read_text()) | fields
    path.write_text(yaml.safe_dump(settings))
    return path


def run_sharded(path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, **fsdp_environment(), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command += ["-m", "test.train.sharded_run", str(path)]
    finished = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def run_whole(path: Path) -> None:
    settings = config.load(path, TrainConfig)
    TrainingLoop(settings, PolicyTask(settings, load_data(settings, show_progress=False))).run()


def losses_of(run: Path) -> list[list[float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [[row["loss"], row["scene"], row["val_loss"], row["val_target_mm"]] for row in rows]


@pytest.mark.slow
def test_sharded_weights_train_resume_and_are_gathered_as_whole_ones(demonstrations: Path, tmp_path: Path) -> None:
    path = write(tmp_path, demonstrations, "sharded", OPTIONS, keep_last=2)
    run_sharded(path)
    sharded = tmp_path / "sharded"
    first = checkpoint.load_model(checkpoint.path_of(sharded, 4))
    shutil.rmtree(checkpoint.path_of(sharded, 4))
    expected = losses_of(sharded)
    run_sharded(path)  # from step 2
    assert losses_of(sharded) == expected
    resumed = checkpoint.load_model(checkpoint.path_of(sharded, 4))
    assert all(torch.equal(resumed[name], tensor) for name, tensor in first.items())

    run_whole(write(tmp_path, demonstrations, "whole", OPTIONS))
    whole = checkpoint.load_model(checkpoint.path_of(tmp_path / "whole", 4))
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-3, atol=1e-5)
    for row, one in zip(losses_of(sharded), losses_of(tmp_path / "whole"), strict=True):
        assert row == pytest.approx(one, rel=1e-4)


@pytest.mark.slow
def test_in_bfloat16_weights_alone_are_rounded_not_targets_or_losses(demonstrations: Path, tmp_path: Path) -> None:
    options = OPTIONS | {"learning_rate": 1e-9}  # else the second update already shows the first one's rounding
    for name, run in (("sharded", run_sharded), ("whole", run_whole)):
        run(write(tmp_path, demonstrations, name, options, precision="bf16"))
    for row, one in zip(losses_of(tmp_path / "sharded"), losses_of(tmp_path / "whole"), strict=True):
        assert row == pytest.approx(one, rel=2e-3)
    stored = checkpoint.load_model(checkpoint.path_of(tmp_path / "sharded", 4))
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float32}
