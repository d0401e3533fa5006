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

from vla_ros import config as yaml_config
from vla_ros.errors import ConfigError

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
    used = config.output / CONFIG_NAME
    if used.exists() and used.read_bytes() != args.config.read_bytes():
        raise ConfigError(
            f"{args.config}: expected the config that {config.output} was begun with ({used}), got another; "
            "name another `output` or remove that folder"
        )
    data = load_data(config)
    trainer = Trainer(config, data)
    config.output.mkdir(parents=True, exist_ok=True)
    if not used.exists():
        shutil.copyfile(args.config, used)
    data.tokenizer.save(str(config.output / "tokenizer.json"))
    (config.output / "statistics.json").write_text(data.statistics.to_json(), encoding="utf-8")
    state = config.output / checkpoint.FILE_NAME
    if state.exists():
        trainer.resume(state)
        print(f"resuming {config.output} after step {trainer.step}")
    parameters = sum(p.numel() for p in trainer.policy.parameters())
    print(
        f"{config.name}: {parameters / 1e6:.2f} M parameters, {len(data.train)} frames, {config.optimizer.steps} steps"
    )
    trainer.run()
    print(f"done: {state}; next: vla-ros export {config.output} --output models/{config.name}")
    return 0
