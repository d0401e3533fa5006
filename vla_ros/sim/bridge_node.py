"""sim_bridge: a simulator as camera and robot on ROS topics; evaluates a policy, episode by episode.

Runs in the simulator's own virtual environment. Start policy_node and command_gate beside it (`vla-ros eval` does).
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import rclpy
from rclpy.utilities import remove_ros_args

from vla_ros import config
from vla_ros.errors import ConfigError, VlaRosError
from vla_ros.node.process import ignore_signals, init, stop_on_signals
from vla_ros.sim.bridge import Bridge
from vla_ros.sim.episode import EpisodeKey, SimConfig
from vla_ros.sim.film import Video, VideoFactory
from vla_ros.sim.simulator import Simulator

NAME = "sim_bridge"
CONNECT_S = 60.0
"""policy_node may still be loading its bundle when the simulator is ready [s]."""

MakeSimulator = Callable[[SimConfig], Simulator]


def make_simulator(sim: SimConfig) -> Simulator:
    """Open the simulator that the configuration names; nothing of it is imported before."""
    if sim.simulator == "calvin":
        from vla_ros.sim.calvin import CalvinSimulator

        return CalvinSimulator(sim.suite, sim.camera_width_px, sim.camera_height_px)
    if sim.simulator == "simpler":
        from vla_ros.sim.simpler import SimplerSimulator

        return SimplerSimulator(sim.suite, sim.camera_width_px, sim.camera_height_px)
    from vla_ros.sim.libero import LiberoSimulator
    from vla_ros.sim.moved_target import MovedTargetLibero

    if sim.moved_target_m > 0:
        return MovedTargetLibero(
            sim.suite, sim.camera_width_px, sim.camera_height_px, moved_m=sim.moved_target_m, tasks=sim.tasks
        )
    return LiberoSimulator(sim.suite, sim.camera_width_px, sim.camera_height_px)


def make_video(path: Path, fps: float) -> Video:
    """An MP4 file; the encoder is imported only now."""
    from vla_ros.evaluation.video import VideoWriter

    return VideoWriter(path, fps)


def read_episodes(path: Path) -> list[EpisodeKey]:
    """Which episodes to run: a JSON list of [task, initial state].

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    try:
        return [(int(task), int(state)) for task, state in json.loads(config.read_text(path, "list of episodes"))]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: expected a JSON list of [task, initial state], got: {error}") from error


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="config/sim/*.yaml")
    parser.add_argument("--output", type=Path, required=True, help="folder for episodes.jsonl, videos, progress.json")
    parser.add_argument("--episodes", type=int, help="episodes per task, instead of the file's")
    parser.add_argument("--only", type=Path, help="JSON list of the [task, initial state] to run, instead of all")
    parser.add_argument("--progress", type=Path, help="file that says what is going on (<output>/progress.json)")
    parser.add_argument(
        "--connect-timeout-s",
        type=float,
        default=CONNECT_S,
        help="how long to wait for policy_node and command_gate at start (default: %(default)s s)",
    )
    try:
        own = remove_ros_args([NAME, *arguments])[1:]
    except RuntimeError as error:  # rcl's own, of which the class is private
        raise ConfigError(f"command line: {' '.join(str(error).split())}") from error
    return parser.parse_args(own)


def main(
    arguments: list[str] | None = None,
    make_simulator: MakeSimulator = make_simulator,
    make_video: VideoFactory = make_video,
) -> int:
    """Run the bridge.

    Returns:
        The exit code: 0 if all episodes ran; 1 if one was held or got no command; 2 for a mistake in the
        configuration or a missing node; 3 after an episode that the simulator failed; 130 when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    stop = stop_on_signals()
    simulator: Simulator | None = None
    try:
        args = _parse(arguments)
        sim = config.load(args.config, SimConfig)
        if args.episodes is not None:
            if args.episodes < 1:
                raise ConfigError(f"--episodes: expected >= 1, got {args.episodes}")
            sim = dataclasses.replace(sim, episodes_per_task=args.episodes)
        simulator = make_simulator(sim)
        only = None if args.only is None else read_episodes(args.only)
        bridge = Bridge(sim, simulator, args.output, make_video, only=only, progress=args.progress)
        init(arguments)
        return bridge.run(stop, args.connect_timeout_s)
    except VlaRosError as error:
        print(f"{NAME}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{NAME}: interrupted", file=sys.stderr)
        return 130
    finally:
        if simulator is not None:
            simulator.close()
        rclpy.try_shutdown()
        ignore_signals()


if __name__ == "__main__":
    sys.exit(main())
