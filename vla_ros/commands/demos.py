"""Collect demonstrations in LIBERO with a scripted expert that knows where everything is.

It writes one <task>_demo.hdf5 per task, in LIBERO's own format, so that `vla-ros train` reads these files and LIBERO's
alike. Only successful episodes are kept (of `first_steps`, every beginning). Stop it when you like (Ctrl-C, or a power
cut): the same command goes on where it was, and a finished task is left alone. Two cores without a GPU take 2.5 s an
episode with an image every fourth step (`image_every_steps`), 9 s with all of them; needs LIBERO (`make setup-libero`).

  vla-ros demos config/sim/libero_object_demos.yaml                          # 130 episodes of one task
  vla-ros demos config/sim/libero_object_demos.yaml --episodes 4 --output data/try
  vla-ros demos config/sim/libero_object_ten_demos.yaml                      # ten tasks, 64 each: half an hour
  vla-ros demos config/sim/libero_object_ten_beginnings.yaml                 # only their beginnings, 200 each
  vla-ros demos config/sim/libero_spatial_demos.yaml                         # eight tasks of LIBERO-Spatial
"""

import argparse
from pathlib import Path

from vla_ros import config as yaml_config

HELP = "collect demonstrations in LIBERO with a scripted expert"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="a YAML file like config/sim/libero_object_demos.yaml"
    )
    parser.add_argument("--episodes", type=int, metavar="N", help="episodes to keep per task, instead of the file's")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the files, instead of the file's")


def run(args: argparse.Namespace) -> int:
    """Collect; 0 when every task has its episodes."""
    from vla_ros.sim.demos import DemosConfig, collect

    config = yaml_config.load(args.config, DemosConfig)
    collect(yaml_config.override(config, "command line", episodes_per_task=args.episodes, output=args.output))
    return 0
