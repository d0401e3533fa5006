"""sim_bridge: a simulator as camera and robot on ROS topics; evaluates a policy in lockstep, episode by episode.

Runs in the simulator's own virtual environment. Start policy_node and command_gate beside it (`vla-ros eval` does).
"""

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from rclpy.utilities import remove_ros_args

from vla_ros import config
from vla_ros.errors import ConfigError, VlaRosError
from vla_ros.node.parameters import GateParameters, read_parameter_file
from vla_ros.node.process import ignore_signals, init, stop_on_signals
from vla_ros.sim.episode import EpisodeResult, SimConfig, append_result
from vla_ros.sim.lockstep import EpisodeRunner, SimClock, Video, VideoFactory
from vla_ros.sim.ros_link import RosLink
from vla_ros.sim.simulator import SimTask, Simulator

NAME = "sim_bridge"
PROGRESS_PERIOD_S = 0.2
CONNECT_S = 60.0
"""policy_node may still be loading its bundle when the simulator is ready [s]."""

MakeSimulator = Callable[[SimConfig], Simulator]


def make_simulator(sim: SimConfig) -> Simulator:
    """Open the simulator that the configuration names; nothing of it is imported before."""
    from vla_ros.sim.libero import LiberoSimulator

    return LiberoSimulator(sim.suite, sim.camera_size_px, sim.camera_size_px)


def _observation_steps(robot: GateParameters, path: Path) -> int:
    """Every how many steps the policy needs an image.

    Raises:
        ConfigError: the robot file leaves that to the chunk's size, which a bridge does not know.
    """
    if isinstance(robot.execution_horizon, str):
        raise ConfigError(
            f"{path}: command_gate.execution_horizon: expected a number for a simulator's bridge, "
            f"got {robot.execution_horizon!r}; `vla-ros eval` puts in the policy's"
        )
    return 1 if robot.overlap == "temporal_ensemble" else robot.execution_horizon


def make_video(path: Path, fps: float) -> Video:
    """An MP4 file; the encoder is imported only now."""
    from vla_ros.evaluation.video import VideoWriter

    return VideoWriter(path, fps)


class Bridge:
    """An evaluation: all episodes of all tasks, results and videos in `output`."""

    def __init__(self, sim: SimConfig, simulator: Simulator, output: Path, video: VideoFactory) -> None:
        """Check that robot file and simulator fit, before anything moves.

        Raises:
            ConfigError, ContractError: they do not, or the tasks or initial states do not exist.
        """
        robot = read_parameter_file(sim.robot, "command_gate", GateParameters)
        if not robot.lockstep:
            raise ConfigError(f"{sim.robot}: command_gate.lockstep: expected true for a simulator, got false")
        robot.action_space.check_same(simulator.action_space, str(sim.robot), f"simulator {sim.simulator}")
        self._sim = sim
        self._simulator = simulator
        self._output = output
        self._make_video = video
        self._horizon = _observation_steps(robot, sim.robot)
        self._tasks = _select_tasks(sim, simulator)
        self._written_s = 0.0
        if (output / "episodes.jsonl").exists():
            raise ConfigError(f"{output / 'episodes.jsonl'}: expected no earlier results, got some; they are kept")

    def run(self, stop: threading.Event, connect_timeout_s: float) -> int:
        """Run every episode; 0, or 1 if one was held or got no command.

        Raises:
            SimulatorError: policy_node or command_gate are not there after `connect_timeout_s`.
        """
        self._output.mkdir(parents=True, exist_ok=True)
        link = RosLink(
            camera=self._simulator.camera.name,
            rate_hz=self._simulator.action_space.control_rate_hz,
            answer_timeout_s=self._sim.answer_timeout_s,
            stop=stop,
        )
        try:
            link.wait_until_connected(connect_timeout_s)
            return self._run_all(link)
        finally:
            link.close()

    def _run_all(self, link: RosLink) -> int:
        clock = SimClock(time.time_ns())
        states = range(self._sim.first_initial_state, self._sim.first_initial_state + self._sim.episodes_per_task)
        plan = [(task, state) for task in self._tasks for state in states]
        code = 0
        for number, (task, state) in enumerate(plan):
            result = self._run_one(link, clock, task, state, number, len(plan))
            append_result(self._output / "episodes.jsonl", result)
            reason = f" ({result.reason})" if result.reason else ""
            outcome = f"{result.outcome}{reason} after {result.steps} steps"
            print(f"{task.name}, initial state {state}: {outcome}", flush=True)
            if result.outcome in ("held", "no_command"):
                code = 1
            if result.outcome == "no_command":
                left = len(plan) - number - 1
                print(f"{NAME}: error: the gate is silent; {left} episodes were not run", file=sys.stderr)
                break
        return code

    def _run_one(
        self, link: RosLink, clock: SimClock, task: SimTask, state: int, number: int, episodes: int
    ) -> EpisodeResult:
        def on_step(step: int, gate: str) -> None:
            is_due = time.monotonic() - self._written_s >= PROGRESS_PERIOD_S
            if is_due or step in (0, self._simulator.max_steps):
                self._write_progress(task, number, episodes, step, gate)

        runner = EpisodeRunner(
            simulator=self._simulator,
            link=link,
            clock=clock,
            observe_every_n_steps=self._horizon,
            video_every_n_steps=self._sim.video_every_n_steps,
            on_step=on_step,
        )
        on_step(0, link.gate_state)
        name = f"task{task.index:02d}_state{state:03d}.mp4"
        rate_hz = self._simulator.action_space.control_rate_hz
        video = self._make_video(self._output / name, rate_hz / (self._sim.video_every_n_steps or self._horizon))
        with contextlib.closing(video):
            result = runner.run(task, state, self._sim.seed, video, name)
        return result if (self._output / name).exists() else dataclasses.replace(result, video="")

    def _write_progress(self, task: SimTask, number: int, episodes: int, step: int, gate: str) -> None:
        """Replaced as a whole, so that a reader never sees half of it."""
        content = {
            "task": task.name,
            "episode": number + 1,
            "episodes": episodes,
            "step": step,
            "max_steps": self._simulator.max_steps,
            "gate": gate,
        }
        partial = self._output / ".progress.json"
        partial.write_text(json.dumps(content), encoding="utf-8")
        os.replace(partial, self._output / "progress.json")
        self._written_s = time.monotonic()


def _select_tasks(sim: SimConfig, simulator: Simulator) -> list[SimTask]:
    tasks = {task.index: task for task in simulator.tasks()}
    last = sim.first_initial_state + sim.episodes_per_task - 1
    for index in sim.tasks:
        if index not in tasks:
            raise ConfigError(f"{sim.suite}: tasks: expected indices 0 to {len(tasks) - 1}, got {index}")
        if last >= tasks[index].initial_states:
            most = tasks[index].initial_states - 1
            raise ConfigError(f"{sim.suite}: task {index}: expected initial states up to {most}, got {last}")
    return [tasks[index] for index in sim.tasks]


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="config/sim/*.yaml")
    parser.add_argument("--output", type=Path, required=True, help="folder for episodes.jsonl, videos, progress.json")
    parser.add_argument("--episodes", type=int, help="episodes per task, instead of the file's")
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
        configuration or a missing node; 130 when interrupted.
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
        bridge = Bridge(sim, simulator, args.output, make_video)
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
