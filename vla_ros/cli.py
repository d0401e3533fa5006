"""`vla-ros`: one entry point; every subcommand is a module of `vla_ros.commands`."""

import argparse
import importlib
import sys

from vla_ros import __version__
from vla_ros.errors import VlaRosError

COMMANDS = {
    "demos": "libero",
    "record": "runtime",
    "replay": "dev",
    "inspect": "dev",
    "train": "dev",
    "train-vlm": "dev",
    "import-upstream": "dev",
    "export": "dev",
    "check": "runtime",
    "eval": "runtime",
    "compare": "runtime",
    "demo": "runtime",
    "bench": "dev",
}
"""Each command and the environment that has what it needs: `.venv/<name>`, made by `make setup-<name>`."""

EPILOG = """\
the way from nothing to a moving arm:
  vla-ros demos config/sim/libero_object_demos.yaml     scripted demonstrations in real LIBERO
  vla-ros inspect data/libero_object                    look at them before anything is trained on them
  vla-ros train config/train/libero_object_tiny.yaml    a policy from them (stop and resume at will)
  vla-ros export runs/libero_object_tiny --output models/my-policy
  vla-ros check models/my-policy                        is the bundle whole and does it answer as it should?
  vla-ros eval config/sim/libero_object.yaml            success rate over the real ROS 2 topics
  vla-ros compare runs/fp32 runs/int8                   is the one as good as the other?
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; a user's mistake is one line on stderr and exit code 2, never a traceback."""
    parser = argparse.ArgumentParser(
        prog="vla-ros",
        description="Vision-language-action policies on ROS 2: from demonstrations to a moving arm.",
        epilog=EPILOG,
        # room for the longest command's name beside what it does
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=24),
    )
    parser.add_argument("--version", action="version", version=f"vla_ros {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"vla_ros.commands.{name.replace('-', '_')}")
        subparser = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(entry=module.run)
    args = parser.parse_args(arguments)
    try:
        return int(args.entry(args))
    except VlaRosError as error:
        print(f"vla-ros {args.command}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("vla_ros"):
            raise
        environment = COMMANDS[args.command]
        print(
            f"vla-ros {args.command}: {error.name}: expected an installed package, got none; "
            f"`make setup-{environment}`, then .venv/{environment}/bin/vla-ros {args.command}",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"vla-ros {args.command}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
