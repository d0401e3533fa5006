"""Measure a policy's success rate in a simulator, over the real ROS 2 topics.

Three processes run as they would on a robot: policy_node (image and instruction in, action chunks out), command_gate
(chunks in, one command a control period out) and the simulator's bridge, which is camera and robot. In lockstep mode
the simulated world waits for every command, so the success rate does not depend on how busy the machine is, and two
runs execute identical actions.

The output folder holds report.html, one MP4 an episode, summary.json, episodes.jsonl (one line an episode), logs/, and
config.yaml, policy.yaml and robot.yaml, which are what the processes really read. It is a new folder below runs/
unless --output names one; a folder that already holds files is refused, so results are never overwritten.

examples:
  vla-ros eval config/sim/libero_object.yaml
  vla-ros eval config/sim/libero_object.yaml --policy models/my-policy --episodes 20 --first-initial-state 10
  vla-ros eval config/sim/libero_object.yaml --output runs/tuesday --json tuesday.json

Exit code: 0 when every episode was run, whatever the success rate; 1 when the run broke off (a process died, the gate
held, nothing moved any more); 2 when something was wrong before the start.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from vla_ros import config as yaml_config
from vla_ros.errors import ConfigError
from vla_ros.evaluation.record import Evaluation, to_json
from vla_ros.evaluation.table import text_table
from vla_ros.node.environment import shared_memory_shortage
from vla_ros.sim.episode import SimConfig

HELP = "measure a policy's success rate in a simulator over ROS 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="config/sim/*.yaml; paths in it are relative to the current folder"
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--first-initial-state", type=int, metavar="I", help="first of the benchmark's initial states [the config's]"
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `eval` and `demo` share."""
    parser.add_argument(
        "--policy", type=Path, metavar="BUNDLE", help="a policy bundle instead of the one that the config names"
    )
    parser.add_argument("--episodes", type=int, metavar="N", help="episodes of each task [the config's]")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="a new or empty folder [runs/<config>-<date>-<time>]"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to this file as well")


def run(args: argparse.Namespace) -> int:
    """Run the evaluation and show its table."""
    from vla_ros.evaluation.runner import evaluate

    config = yaml_config.override(
        yaml_config.load(args.config, SimConfig),
        "command line",
        episodes_per_task=args.episodes,
        first_initial_state=args.first_initial_state,
    )
    check_writable(args.json)
    warn_of_shortage()
    evaluation = evaluate(config, args.output or new_output(args.config), args.policy)
    return conclude(evaluation, args.json, "eval")


def check_writable(path: Path | None) -> None:
    """Find out before the run, not after it, whether its figures can be written.

    Raises:
        ConfigError: they cannot.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise ConfigError(f"--json {path}: expected a writable file, got: {error.strerror}") from error


def warn_of_shortage() -> None:
    """Say on stderr what will slow this run down."""
    shortage = shared_memory_shortage()
    if shortage:
        print(f"warning: {shortage}", file=sys.stderr)


def new_output(config: Path) -> Path:
    """A folder below runs/ that does not exist yet."""
    return Path("runs") / f"{config.stem}-{time.strftime('%Y%m%d-%H%M%S')}"


def conclude(evaluation: Evaluation, json_path: Path | None, command: str) -> int:
    """Print table and places, write the JSON, and give the exit code."""
    print(f"\n{text_table(evaluation)}\n")
    if evaluation.reaction:
        reaction = evaluation.reaction
        print(
            f"reaction latency, image to command: p50 {reaction.p50_ms:.1f} ms, p99 {reaction.p99_ms:.1f} ms, "
            f"maximum {reaction.max_ms:.1f} ms over {reaction.count} images"
        )
    print(f"report: {(evaluation.output / 'report.html').absolute().as_uri()}")
    videos = [result.video for result in evaluation.results if result.video]
    if videos:
        print(f"videos: {evaluation.output.absolute().as_uri()}/ ({len(videos)} MP4 files, {videos[0]} the first)")
    if json_path is not None:
        json_path.write_text(json.dumps(to_json(evaluation), indent=2) + "\n", encoding="utf-8")
        print(f"figures: {json_path}")
    if evaluation.failure:
        done = f"broken off after {len(evaluation.results)} of {evaluation.expected_episodes} episodes"
        print(f"vla-ros {command}: {done}: {evaluation.failure}", file=sys.stderr)
        return 1
    return 0
