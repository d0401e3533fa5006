"""Record a teleoperated demonstration, or with --run a policy's run, from ROS 2 topics into an MCAP file.

Begins at once and ends with Ctrl-C: one run is one episode, `OUTPUT/episode_<date>_<time>.mcap` in rosbag2's layout.
For several, the services /recorder/record (std_srvs/SetBool) and /recorder/discard (std_srvs/Trigger) begin, finish
and throw away episodes while it runs.

Recorded are camera, instruction, commanded velocities (geometry_msgs/TwistStamped), gripper (sensor_msgs/JointState)
and with --pose the end effector's pose, from which actions can be made where no velocity is commanded.

With --run also what policy_node and command_gate say: action chunks, the instruction in force, both states, target
poses, the emergency stop and diagnostics. `vla-ros replay` plays such a file again; one with one instruction is
training data as well. In a simulator's lockstep, add --sim-time.

examples:
  vla-ros record data/kitchen --text "put the soup in the basket"
  vla-ros record data/kitchen --image /camera/color/image_raw/compressed --pose /ee_pose --no-commands
  vla-ros record runs/monday --run
  ros2 service call /recorder/record std_srvs/srv/SetBool "{data: true}"
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from vla_ros.config import load, override
from vla_ros.data.checks import checked_instruction
from vla_ros.data.recorded_topics import RecordedTopics, RunTopics
from vla_ros.errors import ConfigError

HELP = "record a teleoperated demonstration or a policy's run from ROS 2 topics"
KEYS = tuple(field.name for field in dataclasses.fields(RunTopics))
ROLES = ("image", "instruction", "commands", "pose", "gripper")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("output", type=Path, nargs="?", help="the folder for the episodes' files")
    parser.add_argument("--run", action="store_true", help="a policy's run: also what policy_node and command_gate say")
    parser.add_argument("--topics", type=Path, metavar="YAML", help=f"names of the topics: {', '.join(KEYS)}")
    for role in ROLES:
        default = getattr(RecordedTopics(), role) or "none"
        parser.add_argument(f"--{role}", metavar="TOPIC", help=f"topic ({default})")
    parser.add_argument("--no-commands", action="store_true", help="no velocities are commanded; needs --pose")
    parser.add_argument("--text", help="the instruction, where no topic has it")
    parser.add_argument("--wait", action="store_true", help="begin only when the service is called")
    parser.add_argument("--sim-time", action="store_true", help="the time of /clock, where a simulator has its own")
    parser.add_argument(
        "--recover", type=Path, metavar="FILE", help="save what is whole of a recording that was cut off"
    )


def run(args: argparse.Namespace) -> int:
    """Record until Ctrl-C."""
    if args.recover is not None:
        from vla_ros.data.mcap_recovery import recover

        saved, count = recover(args.recover)
        print(f"{saved}: {count} messages")
        return 0
    if args.output is None:
        raise ConfigError("output: expected a folder, got nothing")
    text = None if args.text is None else checked_instruction(args.text, "--text")
    topics = chosen_topics(args)
    from vla_ros.evaluation.provenance import made_with
    from vla_ros.node.recorder_node import record

    return record(topics, args.output, text, made_with(), waits=args.wait, use_sim_time=args.sim_time)


def chosen_topics(args: argparse.Namespace) -> RecordedTopics:
    """The file's topics, or the defaults, with those of the command line in their place.

    Raises:
        ConfigError: a name is no topic's, or says the same twice.
    """
    kind = RunTopics if args.run else RecordedTopics
    topics = kind() if args.topics is None else load(args.topics, kind)
    changes: dict[str, Any] = {role: getattr(args, role) for role in ROLES}
    topics = override(topics, "command line", **changes)
    if not args.no_commands:
        return topics
    try:
        return dataclasses.replace(topics, commands=None)
    except ValueError as error:
        raise ConfigError(f"--no-commands: {error}") from error
