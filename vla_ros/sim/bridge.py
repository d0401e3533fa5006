"""The episodes of one bridge: a simulator, policy and gate, results and videos on disk."""

import contextlib
import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from vla_ros.errors import ConfigError, SimulatorError
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.parameters import read_parameter_file
from vla_ros.sim.episode import EpisodeKey, EpisodeResult, SimConfig, append_result
from vla_ros.sim.episode_runner import SubtaskRunner
from vla_ros.sim.film import VideoFactory
from vla_ros.sim.latency import read_latency
from vla_ros.sim.lockstep import MIN_JUMP_NS, EpisodeRunner, SimClock
from vla_ros.sim.real_time import PlayedCommands, RealTimeRunner
from vla_ros.sim.real_time_link import RealTimeRosLink
from vla_ros.sim.ros_link import RosLink
from vla_ros.sim.simulator import SimTask, Simulator

PROGRESS_PERIOD_S = 0.2
HELD, SIMULATOR_FAILED = 1, 3
"""Exit codes."""


class Bridge:
    """An evaluation: episodes of some tasks, results and videos in `output`."""

    def __init__(
        self,
        sim: SimConfig,
        simulator: Simulator,
        output: Path,
        video: VideoFactory,
        *,
        only: Sequence[EpisodeKey] | None = None,
        progress: Path | None = None,
    ) -> None:
        """Check that robot file and simulator fit, before anything moves.

        Args:
            sim: what to run.
            simulator: with what.
            output: folder of results and videos; without `only` it must hold no results yet.
            video: makes the files.
            only: of the configuration's episodes these; None for all.
            progress: file that says what is going on, and beside which the gate's counts go.

        Raises:
            ConfigError, ContractError: they do not, or the tasks or initial states do not exist.
            SimulatorError: the simulator lacks something, so that no world opens or none is drawn.
        """
        self._robot = read_parameter_file(sim.robot, "command_gate", GateParameters)
        _check_mode(sim, self._robot)
        self._robot.action_space.check_same(simulator.action_space, str(sim.robot), f"simulator {sim.simulator}")
        self._sim = sim
        self._simulator = simulator
        self._output = output
        self._make_video = video
        self._horizon = _execution_horizon(self._robot, sim.robot)
        self._latency = read_latency(sim.latency) if sim.latency else None
        tasks = _select_tasks(sim, simulator)
        self._told = _told(sim, tasks)
        self._episodes = [(tasks[task], state) for task, state in (sim.episodes if only is None else only)]
        self._progress = progress or output / "progress.json"
        self._written_s = 0.0
        if only is None and (output / "episodes.jsonl").exists():
            raise ConfigError(f"{output / 'episodes.jsonl'}: expected no earlier results, got some; they are kept")
        _try(sim, simulator, tasks[sim.tasks[0]])

    def run(self, stop: threading.Event, connect_timeout_s: float) -> int:
        """Run every episode; 0, HELD if one was held or got no command, or SIMULATOR_FAILED after which one was.

        Raises:
            SimulatorError: policy_node or command_gate are not there after `connect_timeout_s`.
        """
        self._output.mkdir(parents=True, exist_ok=True)
        self._progress.parent.mkdir(parents=True, exist_ok=True)
        kind = RealTimeRosLink if self._sim.mode == "real_time" else RosLink
        link = kind(
            camera=self._simulator.camera.name,
            rate_hz=self._robot.command_rate_hz,
            answer_timeout_s=self._sim.answer_timeout_s,
            stop=stop,
        )
        try:
            link.wait_until_connected(connect_timeout_s)
            code = self._run_all(link)
            self._write(self._progress.with_name("gate.json"), link.gate_counts() or {})
            return code
        finally:
            link.close()

    def _run_all(self, link: RosLink | RealTimeRosLink) -> int:
        runner = self._runner(link)
        code = 0
        for number, (task, state) in enumerate(self._episodes):
            result = self._run_one(runner, link, task, state, number)
            append_result(self._output / "episodes.jsonl", result)
            print(_line(result), flush=True)
            if result.outcome == "simulator_failed":
                return SIMULATOR_FAILED
            if result.outcome in ("held", "no_command"):
                code = HELD
            if result.outcome == "no_command":
                left = len(self._episodes) - number - 1
                print(f"sim_bridge: error: the gate is silent; {left} episodes were not run", file=sys.stderr)
                break
        return code

    def _runner(self, link: RosLink | RealTimeRosLink) -> SubtaskRunner:
        if isinstance(link, RosLink):
            return EpisodeRunner(
                simulator=self._simulator,
                link=link,
                clock=SimClock(time.time_ns()),
                observe_every_n_steps=self._horizon,
                video_every_n_steps=self._sim.video_every_n_steps,
                on_step=lambda step, gate: None,
                told=self._told,
                latency=self._latency,
                awaits_chunks=self._robot.overlap == "temporal_ensemble",
            )
        space = self._simulator.action_space
        return RealTimeRunner(
            simulator=self._simulator,
            link=link,
            video_every_n_steps=self._sim.video_every_n_steps,
            on_step=lambda step, gate: None,
            told=self._told,
            played=PlayedCommands(round(1e9 / self._robot.command_rate_hz), space.rotation),
            pause_ns=max(MIN_JUMP_NS, (self._horizon + 1) * space.period_ns),
        )

    def _run_one(
        self, runner: SubtaskRunner, link: RosLink | RealTimeRosLink, task: SimTask, state: int, number: int
    ) -> EpisodeResult:
        self._write_progress(task, state, number, 0, 0, link.gate_state)  # before the simulator may die
        parts = len(self._simulator.subtasks(task, state))

        def on_step(step: int, gate: str) -> None:
            limit = self._simulator.max_steps * parts
            is_due = time.monotonic() - self._written_s >= PROGRESS_PERIOD_S
            if is_due or step == limit:
                self._write_progress(task, state, number, step, limit, gate)

        runner.on_step = on_step
        name = f"task{task.index:02d}_state{state:03d}.mp4"
        rate_hz = self._simulator.action_space.control_rate_hz
        video = self._make_video(self._output / name, rate_hz / (self._sim.video_every_n_steps or self._horizon))
        with contextlib.closing(video):
            result = runner.run(task, state, self._sim.seed, video, name)
        return result if (self._output / name).exists() else dataclasses.replace(result, video="")

    def _write_progress(self, task: SimTask, state: int, number: int, step: int, limit: int, gate: str) -> None:
        content = {
            "task": task.name,
            "instruction": task.instruction,
            "task_index": task.index,
            "initial_state": state,
            "episode": number + 1,
            "episodes": len(self._episodes),
            "step": step,
            "max_steps": limit,
            "gate": gate,
        }
        self._write(self._progress, content)
        self._written_s = time.monotonic()

    @staticmethod
    def _write(path: Path, content: object) -> None:
        """Replaced as a whole, so that a reader never sees half of it."""
        partial = path.with_name(f".{path.name}")
        partial.write_text(json.dumps(content), encoding="utf-8")
        os.replace(partial, path)


def _line(result: EpisodeResult) -> str:
    reason = f" ({result.reason})" if result.reason else ""
    parts = f", {result.completed_subtasks} of {len(result.subtasks)} done" if len(result.subtasks) > 1 else ""
    where = f"{result.task}, initial state {result.initial_state}"
    return f"{where}: {result.outcome}{reason} after {result.steps} steps{parts}"


def _check_mode(sim: SimConfig, robot: GateParameters) -> None:
    """A gate that waits for a simulator's time gets one, and one that does not gets none."""
    wants_lockstep = sim.mode != "real_time"
    if robot.lockstep != wants_lockstep:
        where = "a simulator" if wants_lockstep else "a simulator in real time"
        wanted, got = (str(value).lower() for value in (wants_lockstep, robot.lockstep))
        raise ConfigError(f"{sim.robot}: command_gate.lockstep: expected {wanted} for {where}, got {got}")


def _execution_horizon(robot: GateParameters, path: Path) -> int:
    """Rows of a chunk that are executed.

    Raises:
        ConfigError: the robot file leaves that to the chunk's size, which a bridge does not know.
    """
    if isinstance(robot.execution_horizon, str):
        raise ConfigError(
            f"{path}: command_gate.execution_horizon: expected a number for a simulator's bridge, "
            f"got {robot.execution_horizon!r}; `vla-ros eval` puts in the policy's"
        )
    return robot.execution_horizon


def _try(sim: SimConfig, simulator: Simulator, task: SimTask) -> None:
    """Open a world and draw it: what is missing here is no failure of an episode."""
    try:
        simulator.reset(task, 0, sim.seed)
        simulator.render()
    except SimulatorError:
        raise
    except Exception as error:
        raise SimulatorError(
            f"{sim.simulator}: {task.name}: expected a world that opens and is drawn, got {type(error).__name__}: "
            f"{' '.join(str(error).split())}; `make setup-{sim.simulator}` installs what it needs"
        ) from error


def _told(sim: SimConfig, tasks: dict[int, SimTask]) -> dict[int, str]:
    """What the policy is told instead, by task; nothing unless the configuration is that control."""
    if not sim.told_task_offset:
        return {}
    others = sim.tasks[sim.told_task_offset :] + sim.tasks[: sim.told_task_offset]
    return {task: tasks[other].instruction for task, other in zip(sim.tasks, others, strict=True)}


def _select_tasks(sim: SimConfig, simulator: Simulator) -> dict[int, SimTask]:
    tasks = {task.index: task for task in simulator.tasks()}
    last = sim.initial_states[-1]
    for index in sim.tasks:
        if index not in tasks:
            known = ", ".join(f"{task.index} ({task.name})" for task in tasks.values())
            raise ConfigError(
                f"{sim.suite}: tasks: expected indices 0 to {len(tasks) - 1}, got {index}; there are {known}"
            )
        if last >= tasks[index].initial_states:
            most = tasks[index].initial_states - 1
            raise ConfigError(f"{sim.suite}: task {index}: expected initial states up to {most}, got {last}")
    return tasks
