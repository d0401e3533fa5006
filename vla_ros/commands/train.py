"""Train a policy from demonstrations by the VLM4VLA recipe.

Reads the YAML, trains, and writes into its `output` folder: the checkpoint, metrics.jsonl, curves.png (look at it
while it trains), the tokenizer and the statistics of the actions. Ctrl-C writes a checkpoint; the same command goes
on from there.

example:
  vla-ros train config/train/libero_object_tiny.yaml
"""

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vla_ros import config as yaml_config
from vla_ros.errors import ConfigError

if TYPE_CHECKING:
    from vla_ros.train.config import TrainConfig
    from vla_ros.train.trainer import TrainingData

HELP = "train a policy from demonstrations"

CONFIG_NAME = "train.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("config", type=Path, help="training config, e.g. config/train/libero_object_tiny.yaml")


def run(args: argparse.Namespace) -> int:
    """Train to the end, or until interrupted."""
    from vla_ros.train import checkpoint
    from vla_ros.train.config import TrainConfig
    from vla_ros.train.trainer import Trainer, load_data

    config = yaml_config.load(args.config, TrainConfig)
    used, state = config.output / CONFIG_NAME, config.output / checkpoint.FILE_NAME
    if state.exists() and not (used.exists() and used.read_bytes() == args.config.read_bytes()):
        raise ConfigError(
            f"{args.config}: expected the config that {config.output} was begun with ({used}), got another; "
            "name another `output` or remove that folder"
        )
    data = load_data(config)
    if state.exists():
        check_same_data(config, data)
    trainer = Trainer(config, data)
    config.output.mkdir(parents=True, exist_ok=True)
    if state.exists():
        trainer.resume(state)
        print(f"resuming {config.output} after step {trainer.step}")
    else:
        shutil.copyfile(args.config, used)
        for name, text in data.companions.items():
            (config.output / name).write_text(text, encoding="utf-8")
    parameters = sum(p.numel() for p in trainer.policy.parameters())
    print(
        f"{config.name}: {parameters / 1e6:.2f} M parameters, {len(data.train)} frames, {config.optimizer.steps} steps"
    )
    trainer.run()
    print(f"done: {state}; next: vla-ros export {config.output} --output models/{config.name}")
    return 0


def check_same_data(config: "TrainConfig", data: "TrainingData") -> None:
    """Refuse to go on with other demonstrations: old weights would get new action units or another vocabulary.

    Raises:
        ConfigError: today's data give other statistics or another tokenizer than the run was begun with.
    """
    from vla_ros.train import checkpoint

    state = config.output / checkpoint.FILE_NAME
    expected, today = checkpoint.load_companions(state), checkpoint.digest_of(data.companions)
    different = [
        f"{name} of sha256 {expected[name]}, got {today[name]}" for name in expected if expected[name] != today[name]
    ]
    if different:
        raise ConfigError(
            f"{state}: metadata: expected {config.data.path} to give {'; '.join(different)}; "
            f"put the demonstrations back, or name another `output` or remove {config.output}"
        )
