"""FSDP2 on two CPU processes: what can be tested of sharded training without a GPU.

accelerate 1.15 takes FSDP for CUDA and its like only: on the CPU `AcceleratorState` keeps MULTI_CPU, which is DDP.
PyTorch's own `fully_shard`, which accelerate calls on each decoder layer and then on the module, runs on gloo.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_sharded_policy_makes_the_same_update_as_a_whole_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "test.train.sharded_step"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=150)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
