"""Measure how fast things are, and how fast they could be.

  train CONFIG    samples per second of the data path alone, of the bare forward and backward pass on one batch, and of
                  the real training loop, in turns in one run. The data path should be at least 3 times as fast as the
                  trainer, and the trainer at least 85 % as fast as the bare pass: what is missing is waiting.
                  MFU is the share of the device's measured peak that the model's own operations use.

example:
  vla-ros bench train config/train/libero_object_tiny.yaml --json bench.json --plot bench.png
"""

import argparse
from pathlib import Path

from vla_ros import config as yaml_config

HELP = "measure training: data path, bare computation and the real loop"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    train = benchmarks.add_parser("train", help=HELP, description=HELP)
    train.add_argument("config", type=Path, help="training config, e.g. config/train/libero_object_tiny.yaml")
    train.add_argument("--steps", type=_positive, default=5, help="updates of each phase in each round (5)")
    train.add_argument("--rounds", type=_positive, default=20, help="rounds; figures are medians over them (20)")
    train.add_argument("--json", type=Path, help="write figures, units, seeds, versions and machine to this file")
    train.add_argument("--plot", type=Path, metavar="PNG", help="draw every update's duration into this file")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected >= 1, got {number}")
    return number


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write what was asked for."""
    from vla_ros.bench import report, train_report
    from vla_ros.bench.train import measure
    from vla_ros.train.config import TrainConfig

    config = yaml_config.load(args.config, TrainConfig)
    for option, path in (("--json", args.json), ("--plot", args.plot)):
        if path is not None:
            report.check_writable(path, option)
    measured = measure(config, args.steps, args.rounds)
    print(train_report.text(measured))
    if args.json is not None:
        report.write_json(args.json, train_report.document(measured, config))
        print(f"figures: {args.json}")
    if args.plot is not None:
        train_report.plot(measured, args.plot)
        print(f"plot: {args.plot}")
    return 0
