"""Is policy B as good as policy A? Paired on the same tasks and initial states, with an answer one can act upon.

A and B are two results of `vla-ros eval`, or, with --config, two policy bundles that are evaluated first. Of every pair
of episodes, both started from the very same state, so luck with the states cancels out and few episodes tell much.

  McNemar's exact test    whether one of them succeeds more often
  bootstrap, adjusted     95 % intervals of the difference in success, B - A; of chains: of the share of subtasks done
  non-inferior            with 95 % confidence B loses less than the margin: both intervals' lower one-sided bounds
                          exclude it. Few pairs cannot show that, even where all of them agree: a margin of 5 points
                          takes 45 pairs at least, and more where they disagree

Use it to accept a quantised or retrained policy: `vla-ros compare models/fp32 models/int8 --config CONFIG && deploy`.

examples:
  vla-ros compare runs/fp32 runs/int8
  vla-ros compare models/my-policy models/my-policy-int8 --config config/sim/libero_object.yaml --episodes 50
  vla-ros compare runs/ledger runs/skip --margin 10 --json comparison.json

Exit code: 0 only if B is non-inferior; 1 if that was not shown or an evaluation broke off; 2 for a mistake.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from vla_ros import config as yaml_config
from vla_ros.commands.eval import check_writable, warn_of_shortage
from vla_ros.errors import ConfigError
from vla_ros.sim.episode import SimConfig

HELP = "is policy B as good as policy A? paired episodes, non-inferiority with a margin"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("first", type=Path, metavar="A", help="the reference: a result's folder, or a bundle")
    parser.add_argument("second", type=Path, metavar="B", help="the newcomer: a result's folder, or a bundle")
    parser.add_argument(
        "--margin", type=float, default=5.0, metavar="POINTS", help="a loss of so much is not tolerated [%(default)s]"
    )
    parser.add_argument("--config", type=Path, help="evaluate both bundles on this configuration first")
    parser.add_argument("--episodes", type=int, metavar="N", help="with --config: episodes of each task [the config's]")
    parser.add_argument("--workers", type=int, metavar="N", help="with --config: see `vla-ros eval --help`")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="with --config: folder of both results [runs/compare-<date>-<time>]"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to this file as well")


def run(args: argparse.Namespace) -> int:
    """Compare, and evaluate first where that was asked for."""
    from vla_ros.evaluation import comparison

    if not 0 < args.margin <= 100:
        raise ConfigError(f"--margin: expected points of success, more than 0 and at most 100, got {args.margin:g}")
    check_writable(args.json)
    folders: tuple[Path, ...] = (args.first, args.second)
    if args.config is not None:
        folders = _evaluated(args)
        if not folders:
            return 1
    elif any((args.episodes, args.workers, args.output)):
        raise ConfigError("--episodes, --workers, --output: expected with --config alone, got them without")
    first, second = map(comparison.read_side, folders)
    compared = comparison.compare(first, second, args.margin / 100)
    print(comparison.text(compared))
    if args.json is not None:
        args.json.write_text(json.dumps(comparison.to_json(compared), indent=2) + "\n", encoding="utf-8")
        print(f"figures: {args.json}")
    return 0 if compared.is_non_inferior else 1


def _evaluated(args: argparse.Namespace) -> tuple[Path, ...]:
    """The folders of both bundles' results; none where one broke off."""
    from vla_ros.evaluation.plan import Variant, prepare
    from vla_ros.evaluation.runner import evaluate, local

    config = yaml_config.load(args.config, SimConfig)
    config = yaml_config.override(config, "command line", episodes_per_task=args.episodes)
    warn_of_shortage()
    output = args.output or Path("runs") / f"compare-{time.strftime('%Y%m%d-%H%M%S')}"
    sides = [(output / name, Variant(bundle=bundle)) for name, bundle in (("a", args.first), ("b", args.second))]
    for folder, variant in sides:
        prepare(config, folder, variant)
    for folder, variant in sides:
        print(f"{variant.bundle}: {len(config.episodes)} episodes, results in {folder}", flush=True)
        evaluation = evaluate(config, folder, variant, None if args.workers is None else local(args.workers))
        if evaluation.failure:
            print(f"vla-ros compare: {variant.bundle}: broken off: {evaluation.failure}", file=sys.stderr)
            return ()
    return tuple(folder for folder, _ in sides)
