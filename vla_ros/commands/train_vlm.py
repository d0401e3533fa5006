"""Fine-tune a vision-language model before it becomes a policy, on FAST action tokens or questions about images.

Reads the YAML, trains, and writes into its `output` folder what `vla-ros train` writes, and in the end `model/`: the
fine-tuned model in the Hugging Face layout, which `weights` of a policy can name. Ctrl-C writes a checkpoint; the same
command goes on from there. It runs under `accelerate launch` as `vla-ros train` does.

examples:
  vla-ros train-vlm config/train/vlm/fast_libero_object.yaml     inject actions into the model (VLM4VLA, sec. 4.4)
  vla-ros train-vlm config/train/vlm/vqa_example.yaml            an auxiliary task from a JSONL file (VLM4VLA, sec. 4.2)
"""

import argparse
import os
from pathlib import Path

from vla_ros import config as yaml_config

HELP = "fine-tune a vision-language model before it becomes a policy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("config", type=Path, help="e.g. config/train/vlm/fast_libero_object.yaml")
    parser.add_argument("--skip-bad", action="store_true", help="leave damaged episodes or lines out and list them")


def run(args: argparse.Namespace) -> int:
    """Train to the end, or until interrupted, and write the model."""
    from vla_ros.train import run_folder
    from vla_ros.train.accelerator import check_launch
    from vla_ros.train.loop import TrainingLoop
    from vla_ros.train.vlm_config import VlmConfig
    from vla_ros.train.vlm_task import load_data, make_task, write_model

    config = yaml_config.load(args.config, VlmConfig)
    check_launch(config)
    is_main = os.environ.get("RANK", "0") == "0"  # accelerate says so only once the processes are joined
    state = run_folder.find_checkpoint(config, args.config)
    data = load_data(config, args.skip_bad, show_progress=is_main)
    task = make_task(config, data, pretrained=state is None)
    if state is not None:
        mend = f"put the data back, or name another `output` or remove {config.output}"
        run_folder.check_companions(state, task.companions, mend)
    loop = TrainingLoop(config, task, config.workers)
    if state is not None:
        loop.resume(state)
    elif is_main:
        run_folder.begin(config, task.companions)
    if is_main:
        for line in data.left_out:
            print(f"left out: {line}")
        parameters = sum(parameter.numel() for parameter in task.module.parameters())
        print(
            f"{config.name}: {parameters / 1e6:.2f} M parameters, {task.examples} examples "
            f"({len(data.left_out)} left out), {config.optimizer.steps} steps"
        )
    loop.run()
    if is_main:
        folder = write_model(config, task)
        print(f"done: {folder}; next: name it as `weights` in a file of config/policy/ and `vla-ros train` that policy")
    return 0
