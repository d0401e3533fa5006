"""Measure a policy's success rate in a simulator, over the real ROS 2 topics.

Three processes run as they would on a robot: policy_node (image and instruction in, action chunks out), command_gate
(chunks in, one command a control period out) and the simulator's bridge, which is camera and robot. Several such groups
run side by side, each on a ROS domain of its own.

  --mode lockstep    the world waits for every command (the paper's protocol): success does not depend on how busy the
                     machine is, and two runs execute identical actions
  --mode real_time   the world follows the wall clock and waits for nobody
  --mode latency     latency in the loop: as lockstep, but the chunk of an image reaches the gate only after a latency,
                     while the world goes on with what the gate has, and the policy looks again when it is free. The
                     latency is replayed from a measurement or given as p50/p99; draws depend on the seed alone

The output folder holds report.html, success_by_task.svg, one MP4 an episode, summary.json, episodes.jsonl (one line an
episode), workers/ with the logs, and config.yaml, policy.yaml and robot.yaml, which are what the processes really read.
It is a new folder below runs/ unless --output names one. A run that was killed goes on when the same --output is named
again, without losing or repeating an episode; with anything else changed it is refused.

Lists make a sweep, each variant in a folder of its own, with a table of all; several latencies are drawn as success
over latency. With --select the list is one of candidates: they run on the configuration's selection states, the best
one is tested on the test's, and the report keeps the two apart.

examples:
  vla-ros eval config/sim/libero_object.yaml
  vla-ros eval config/sim/libero_object.yaml --policy models/my-policy --episodes 20 --first-initial-state 10
  vla-ros eval config/sim/libero_object.yaml --output runs/tuesday --json tuesday.json --workers 4
  vla-ros eval config/sim/libero_object.yaml --mode latency --latency 0,100,200ms --late-steps ledger,skip
  vla-ros eval config/sim/libero_object.yaml --mode latency --latency reaction.json
  vla-ros eval config/sim/libero_object.yaml --policy runs/a runs/b --execution-horizon full,half,one --select

Exit code: 0 when every episode was run, whatever the success rate; 1 when the run broke off (a process died, the gate
held, nothing moved any more); 2 when something was wrong before the start. An episode whose simulator died counts as
failed by the simulator, and the run goes on with a new one.
"""

import argparse
import json
import sys
import time
import typing
from pathlib import Path
from typing import Any

from vla_ros import config as yaml_config
from vla_ros.control.chunk_scheduler import LateSteps
from vla_ros.control.gate_config import ExecutionHorizon
from vla_ros.errors import ConfigError
from vla_ros.evaluation.record import Evaluation, to_json
from vla_ros.evaluation.table import text_table
from vla_ros.node.environment import shared_memory_shortage
from vla_ros.sim.episode import Mode, SimConfig
from vla_ros.sim.latency import FORMS, split_latencies

HELP = "measure a policy's success rate in a simulator over ROS 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="config/sim/*.yaml; paths in it are relative to the current folder"
    )
    parser.add_argument(
        "--policy",
        type=Path,
        nargs="+",
        default=[],
        metavar="BUNDLE",
        help="policy bundles instead of the one that the config names",
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--first-initial-state", type=int, metavar="I", help="first of the benchmark's initial states [the config's]"
    )
    parser.add_argument("--mode", choices=typing.get_args(Mode), help="how the world waits [the config's]")
    parser.add_argument("--latency", metavar="L,...", help=f"in mode latency: {FORMS}".replace("%", "%%"))
    parser.add_argument(
        "--execution-horizon", metavar="H,...", help="rows of a chunk that are executed: a number, full, half or one"
    )
    parser.add_argument(
        "--late-steps", metavar="R,...", help="of rows that are past: ledger, skip or restart (docs/control.md)"
    )
    parser.add_argument("--select", action="store_true", help="choose among the lists' variants, then test the best")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="groups of processes at a time [cores / 2; 1 in real time]"
    )
    parser.add_argument("--ray", action="store_true", help="spread the episodes over the machines of a Ray cluster")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `eval` and `demo` share."""
    parser.add_argument("--episodes", type=int, metavar="N", help="episodes of each task [the config's]")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="a new folder, or one to go on in [runs/<config>-<date>-<time>]"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to this file as well")


def run(args: argparse.Namespace) -> int:
    """Run the evaluation and show its table."""
    from vla_ros.evaluation.runner import evaluate
    from vla_ros.evaluation.sweep import Choices, Sweep, select, sweep

    choices = Choices(
        bundles=tuple(args.policy),
        execution_horizons=_horizons(args.execution_horizon),
        late_steps=_late_steps(args.late_steps),
        latencies=split_latencies(args.latency) if args.latency else (),
    )
    config = _config(args, choices.latencies)
    variants = choices.variants
    check_writable(args.json)
    warn_of_shortage()
    output = args.output or new_output(args.config)
    runner = _runner(args)
    if args.select:
        chosen = select(config, output, variants, runner)
        if isinstance(chosen, Sweep):
            return _conclude_sweep(chosen, args.json)
        return conclude(chosen, args.json, "eval")
    if len(variants) > 1:
        return _conclude_sweep(sweep(config, output, variants, runner), args.json)
    return conclude(evaluate(config, output, variants[0], runner), args.json, "eval")


def _config(args: argparse.Namespace, latencies: tuple[str, ...]) -> SimConfig:
    """The file's configuration with the command line's changes."""
    config = yaml_config.load(args.config, SimConfig)
    mode = args.mode or ("latency" if latencies else config.mode)
    if latencies and mode != "latency":
        raise ConfigError(f"--latency: expected mode latency, got {mode}")
    latency = (latencies or (config.latency,))[0] if mode == "latency" else ""
    return yaml_config.override(
        config,
        "command line",
        mode=mode,
        latency=latency,
        episodes_per_task=args.episodes,
        first_initial_state=args.first_initial_state,
    )


def _horizons(text: str | None) -> tuple[ExecutionHorizon, ...]:
    """The list of --execution-horizon.

    Raises:
        ConfigError: an item is neither a number of rows nor a name.
    """
    found: list[ExecutionHorizon] = []
    for item in (text or "").split(",") if text else []:
        if item.isdecimal() and int(item) > 0:
            found.append(int(item))
        elif item in ("full", "half", "one"):
            found.append(item)  # type: ignore[arg-type]
        else:
            raise ConfigError(f"--execution-horizon: expected numbers > 0, full, half or one, got {item!r}")
    return tuple(found)


def _late_steps(text: str | None) -> tuple[LateSteps, ...]:
    """The list of --late-steps.

    Raises:
        ConfigError: an item is no rule.
    """
    known: tuple[LateSteps, ...] = typing.get_args(LateSteps)
    items = text.split(",") if text else []
    for item in items:
        if item not in known:
            raise ConfigError(f"--late-steps: expected {', '.join(known)}, got {item!r}")
    return tuple(rule for item in items for rule in known if rule == item)


def _runner(args: argparse.Namespace) -> Any:
    """How to run the episodes, or None for the default.

    Raises:
        ConfigError: Ray is not installed, or the number of workers is none.
    """
    from vla_ros.evaluation.runner import local

    if args.ray:
        from vla_ros.evaluation.ray_cluster import on_ray

        return on_ray(args.workers)
    return None if args.workers is None else local(args.workers)


def _conclude_sweep(swept: Any, json_path: Path | None) -> int:
    """Print the table of all variants, and write their page, plot and figures."""
    from vla_ros.evaluation import sweep_report
    from vla_ros.evaluation.sweep import sweep_json

    print(f"\n{sweep_report.text(swept)}\n")
    for path in sweep_report.write(swept):
        print(f"{'report' if path.suffix == '.html' else 'plot'}: {path.absolute().as_uri()}")
    if json_path is not None:
        json_path.write_text(json.dumps(sweep_json(swept), indent=2) + "\n", encoding="utf-8")
        print(f"figures: {json_path}")
    if swept.failure:
        done = f"{len(swept.evaluations)} of {len(swept.variants)} variants"
        print(f"vla-ros eval: broken off in {done}: {swept.failure}", file=sys.stderr)
        return 1
    return 0


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
    if evaluation.total is not None and evaluation.total.steps_per_s is not None:
        total = evaluation.total
        print(f"simulator: {total.steps_per_s:.1f} steps/s without resets, {total.rendered} images rendered")
    for candidate in evaluation.selection:
        mark = "chosen: " if candidate.is_chosen else ""
        print(f"selection, other initial states: {mark}{candidate.name}: {candidate.successes} of {candidate.n}")
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
