"""A small policy moves a simulated arm, through the real thing: LIBERO in closed loop over ROS 2.

Runs the five episodes of config/sim/libero_object_demo.yaml with the policy bundle that comes with the project, and
shows a table, the reaction latency, and where to find the videos and the HTML report. No GPU, no robot, no network.

What is real: the LIBERO benchmark with its own scenes, initial states and success test; ROS 2 topics between three
processes; the policy, which sees one camera image and the instruction and nothing else. What is not: the policy is
tiny and was trained on this scene's ten tasks alone, and the simulated world waits for it (lockstep). `vla-ros eval
--help` has the details.
"""

import argparse
from pathlib import Path

from vla_ros import config as yaml_config
from vla_ros.commands import eval as evaluation_command
from vla_ros.sim.episode import SimConfig

HELP = "see a policy move a simulated arm over ROS 2, with videos and a report"

CONFIG = Path("config/sim/libero_object_demo.yaml")

INTRODUCTION = """\
{suite} in {simulator}, {episodes} episodes, over ROS 2 topics between three processes:
  sim_bridge    camera and robot: renders the scene, executes commands, the world waits (lockstep)
  policy_node   one image and the instruction -> a chunk of end-effector deltas
  command_gate  chunks -> one limited command a control period; the only one that commands the arm
everything goes to {output}; Ctrl-C stops all of it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--policy", type=Path, metavar="BUNDLE", help="a policy bundle instead of the one that the config names"
    )
    evaluation_command.add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the demonstration from the project's folder."""
    from vla_ros.evaluation.plan import Variant
    from vla_ros.evaluation.runner import evaluate, local

    config = yaml_config.load(CONFIG, SimConfig)
    config = yaml_config.override(config, "command line", episodes_per_task=args.episodes)
    evaluation_command.check_writable(args.json)
    evaluation_command.warn_of_shortage()
    output = args.output or evaluation_command.new_output(Path("demo"))
    print(
        INTRODUCTION.format(
            suite=config.suite,
            simulator=config.simulator,
            episodes=len(config.tasks) * config.episodes_per_task,
            output=output,
        ),
        flush=True,
    )
    evaluation = evaluate(config, output, Variant(bundle=args.policy), local(1))
    return evaluation_command.conclude(evaluation, args.json, "demo")
