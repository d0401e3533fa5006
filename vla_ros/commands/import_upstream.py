"""Turn a policy that was trained with the VLM4VLA authors' code into a run of ours, for vla-ros export.

The training config says how it was trained: backbone, sizes, `recipe: upstream` and the demonstrations, whose
statistics are the units of its actions. The checkpoint is a .safetensors file or a PyTorch file of tensors alone
(DeepSpeed's shards are joined by its own zero_to_fp32.py); nothing in it is executed.

example:
  vla-ros import-upstream config/train/my_upstream.yaml epoch_5.pt
"""

import argparse
from pathlib import Path

from vla_ros import config as yaml_config

HELP = "take over a policy trained with the authors' code"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("config", type=Path, help="training config with recipe: upstream")
    parser.add_argument("checkpoint", type=Path, help="weights of the authors' code")
    parser.add_argument("--skip-bad", action="store_true", help="leave damaged episodes out")


def run(args: argparse.Namespace) -> int:
    """Convert, and say what comes next."""
    from vla_ros.train.config import TrainConfig
    from vla_ros.train.upstream_run import import_upstream

    config = yaml_config.load(args.config, TrainConfig)
    path = import_upstream(config, args.checkpoint, args.skip_bad)
    print(f"done: {path}; next: vla-ros export {config.output} --output models/{config.name}")
    return 0
