"""Train a policy from demonstrations by the VLM4VLA recipe.

Reads the YAML, trains, and writes into its `output` folder: checkpoints (the best and the newest), metrics.jsonl,
curves.png (look at it while it trains), tensorboard/, the tokenizer and the statistics of the actions. Ctrl-C writes a
checkpoint; the same command goes on from there, and so it does after a crash, from the last checkpoint.

On many GPUs or machines the same under accelerate's launcher, with FSDP or DeepSpeed by its own config file; the second
one tries that with two processes on the CPU, for a config with `device: cpu`:
  accelerate launch --config_file config/train/accelerate/fsdp_8gpu.yaml -m vla_ros.cli train CONFIG
  accelerate launch --config_file config/train/accelerate/ddp_2cpu.yaml -m vla_ros.cli train CONFIG

examples:
  vla-ros train config/train/libero_object_tiny.yaml
  vla-ros train config/train/calvin_abc_d.yaml --plan --accelerate-config config/train/accelerate/fsdp_8gpu.yaml
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from vla_ros import config as yaml_config

if TYPE_CHECKING:
    from vla_ros.train.config import TrainConfig
    from vla_ros.train.data import TrainingData
    from vla_ros.train.policy_task import PolicyTask

HELP = "train a policy from demonstrations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("config", type=Path, help="training config, e.g. config/train/libero_object_tiny.yaml")
    parser.add_argument(
        "--plan", action="store_true", help="only print parameters and memory per process; loads nothing"
    )
    parser.add_argument("--accelerate-config", type=Path, metavar="YAML", help="--plan for that `accelerate launch`")
    parser.add_argument(
        "--gpu-memory-gib", type=float, metavar="GIB", help="--plan says whether it fits, and what helps"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave damaged episodes out and list them")


def run(args: argparse.Namespace) -> int:
    """Train to the end, or until interrupted."""
    from vla_ros.train import memory
    from vla_ros.train.config import TrainConfig

    config = yaml_config.load(args.config, TrainConfig)
    if args.plan:
        print(memory.plan(config, args.accelerate_config).text(args.gpu_memory_gib))
        return 0
    train(config, args.config, args.skip_bad)
    return 0


def train(config: "TrainConfig", source: Path, skip_bad: bool) -> None:
    """Begin a run or go on with it.

    Args:
        source: where the config was read, for errors.
    """
    from vla_ros.train import checkpoint, run_folder
    from vla_ros.train.accelerator import check_launch
    from vla_ros.train.data import load_data
    from vla_ros.train.loop import TrainingLoop
    from vla_ros.train.policy_task import PolicyTask

    check_launch(config)
    is_main = os.environ.get("RANK", "0") == "0"  # accelerate says so only once the processes are joined
    state = run_folder.find_checkpoint(config, source)
    data = load_data(config, skip_bad, show_progress=is_main)
    if state is not None:
        mend = f"put the demonstrations back, or name another `output` or remove {config.output}"
        run_folder.check_companions(state, data.companions, mend)
    task = PolicyTask(config, data, pretrained=state is None)
    loop = TrainingLoop(config, task, config.data.workers)
    if state is not None:
        loop.resume(state)
    elif is_main:
        run_folder.begin(config, data.companions)
    if is_main:
        print(describe(config, data, task, loop.accelerator.num_processes))
        if state is not None:
            print(f"resuming {config.output} after step {loop.step}")
    loop.run()
    if is_main:
        best = checkpoint.best(config.output)
        print(f"done, best: {best}; next: vla-ros export {config.output} --output models/{config.name}")


def describe(config: "TrainConfig", data: "TrainingData", task: "PolicyTask", processes: int) -> str:
    """What is going to be trained on what."""
    parameters = sum(parameter.numel() for parameter in task.policy.parameters())
    return "\n".join(
        [
            *(f"left out: {line}" for line in data.left_out),
            f"{config.name}: {parameters / 1e6:.2f} M parameters; {len(data.train)} frames of "
            f"{len(data.train.episodes)} episodes ({len(data.left_out)} left out); {config.optimizer.steps} steps of "
            f"{config.optimizer.batch_size} samples in {processes} process{'es' if processes > 1 else ''}",
        ]
    )
