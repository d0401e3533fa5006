"""Play a recorded run into policy_node again, and compare what it answers with what it answered then.

Takes what `vla-ros record --run` wrote, or any rosbag2 recording (mcap) of camera, instruction and action chunks. The
policy runs as the real policy_node in a process and a ROS domain of its own, in lockstep: each image that was answered
when the run was recorded is published with its own stamp under the instruction in force, and the next one only when
its chunk is there. Images that the policy had been too busy for are left out. Every chunk must be identical to the last
bit: the same bundle, engine, versions and kind of processor give the same numbers.

With --compare the policy is meant to be another one, e.g. a quantised or a newly trained bundle, and the table of
differences is the result. --output records the replay as a run of its own.

examples:
  vla-ros replay runs/monday --policy config/node/libero_object_ten.yaml
  vla-ros replay runs/monday --policy models/my-policy-int8 --compare --plot difference.png

Exit code: 0 if all chunks are identical, or with --compare; 1 if any is not; 2 if something is wrong with the recording
or the policy, e.g. its bundle is not the recorded one.
"""

import argparse
from pathlib import Path

from vla_ros.config import load
from vla_ros.data.recorded_topics import RunTopics
from vla_ros.errors import ConfigError

MAX_TIMEOUT_S = 600.0
POLICY_PROGRAM = "vla_ros.node.policy_node"

HELP = "play a recorded run into policy_node again and compare its chunks bit by bit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("recording", type=Path, help="an MCAP file, a rosbag2 folder, or a folder with one of them")
    parser.add_argument(
        "--policy",
        type=Path,
        required=True,
        metavar="YAML|BUNDLE",
        help="parameters of policy_node, as on the robot, or a bundle with the default engine",
    )
    parser.add_argument("--compare", action="store_true", help="the policy is another one: show how far off it is")
    parser.add_argument(
        "--topics", type=Path, metavar="YAML", help="names of the recorded topics, where the recorder had others"
    )
    parser.add_argument(
        "--timeout-s", type=float, default=60.0, metavar="S", help="how long an answer may take (%(default)s s)"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to this file as well")
    parser.add_argument("--output", type=Path, metavar="MCAP", help="record the replay to this new file")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the first row of every chunk, then and now")


def run(args: argparse.Namespace) -> int:
    """Replay and report."""
    from vla_ros.bench.report import write_json
    from vla_ros.data.mcap_run import RecordedRun
    from vla_ros.evaluation import replay_report
    from vla_ros.evaluation.provenance import made_with
    from vla_ros.evaluation.replay import Replayer, policy_parameters
    from vla_ros.evaluation.replay_comparison import Comparison

    check(args)
    policy = policy_parameters(args.policy)
    recording = RecordedRun.read(args.recording, None if args.topics is None else load(args.topics, RunTopics))
    present = made_with()
    replayer = Replayer(policy=policy, is_other=args.compare, answer_timeout_s=args.timeout_s, program=POLICY_PROGRAM)
    replay = replayer.run(recording, args.output, present)
    comparison = Comparison.of(replay.pairs)
    print(replay_report.text(recording, comparison, replay_report.changes(recording, policy, present)))
    if args.json is not None:
        write_json(args.json, replay_report.document(recording, comparison, replay, present))
    if args.plot is not None:
        replay_report.plot(replay.pairs, args.plot)
    return 0 if comparison.is_identical or args.compare else 1


def check(args: argparse.Namespace) -> None:
    """Find out before the replay, not after it, what could not work.

    Raises:
        ConfigError: a number out of its range, or a file that cannot be written.
    """
    from vla_ros.bench.report import check_writable

    if not 0 < args.timeout_s <= MAX_TIMEOUT_S:
        raise ConfigError(f"--timeout-s: expected > 0 and <= {MAX_TIMEOUT_S:g}, got {args.timeout_s}")
    if args.output is not None and (args.output.suffix != ".mcap" or args.output.exists()):
        raise ConfigError(f"--output: expected the name of a new .mcap file, got {args.output}")
    for option, path in (("--json", args.json), ("--plot", args.plot)):
        if path is not None:
            check_writable(path, option)
