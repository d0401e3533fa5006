"""From the reset of a simulator to an episode's result, whatever the mode. No ROS here."""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np

from vla_ros.action import Command
from vla_ros.errors import SimulatorError
from vla_ros.sim.episode import EpisodeKey, EpisodeResult, Outcome, SubtaskResult
from vla_ros.sim.film import Film, Video, View
from vla_ros.sim.simulator import SimTask, Simulator, Subtask

T = TypeVar("T")


class SimulatorFailedError(SimulatorError):
    """The simulator raised, or cannot go on: the episode is its failure, not the policy's."""


@dataclass(slots=True)
class EpisodeLog:
    """What happens during an episode."""

    steps: int = 0
    clamped_steps: int = 0
    reaction_ms: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    lag_ms: float = 0.0
    simulator_s: float = 0.0
    rendered: int = 0
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, command: Command, is_clamped: bool) -> None:
        """Count a command as executed."""
        gripper = np.nan if command.gripper is None else command.gripper
        self.sha256.update(np.append(command.delta, gripper).astype("<f8").tobytes())
        self.steps += 1
        self.clamped_steps += is_clamped

    def simulated(self, act: Callable[..., T], *arguments: object) -> T:
        """Let the simulator do something, and take its time.

        Raises:
            SimulatorFailedError: whatever it raises.
        """
        start = time.perf_counter()
        try:
            return act(*arguments)
        except Exception as error:
            name = getattr(act, "__name__", "simulator")
            raise SimulatorFailedError(f"{name}: {type(error).__name__}: {' '.join(str(error).split())}") from error
        finally:
            self.simulator_s += time.perf_counter() - start


@dataclass(slots=True, kw_only=True)
class SubtaskRunner(ABC):
    """Runs episodes of one simulator; how the world waits for the policy is a subclass's.

    Attributes:
        simulator: the world.
        video_every_n_steps: a video frame each so many steps; 0: only the images that the policy sees.
        on_step: called with (steps of the episode so far, gate state) after each step, for a progress display.
        told: by task, what the policy is told instead of what the task is about: a control.
    """

    simulator: Simulator
    video_every_n_steps: int
    on_step: Callable[[int, str], None]
    told: Mapping[int, str] = field(default_factory=dict)

    def run(self, task: SimTask, initial_state: int, seed: int, video: Video | None, video_name: str) -> EpisodeResult:
        """One episode, from reset to its end; whatever ends it, the simulator's last command is a stop or its own."""
        start = time.monotonic()
        log = EpisodeLog()
        outcome, reason, subtasks = self._run(task, initial_state, seed, log, video)
        return EpisodeResult(
            task_index=task.index,
            task=task.name,
            instruction=task.instruction,
            initial_state=initial_state,
            outcome=outcome,
            reason=reason,
            steps=log.steps,
            clamped_steps=log.clamped_steps,
            reaction_ms=tuple(log.reaction_ms),
            actions_sha256=log.sha256.hexdigest(),
            video=video_name,
            subtasks=subtasks,
            wall_s=time.monotonic() - start,
            simulator_s=log.simulator_s,
            rendered=log.rendered,
            latency_ms=tuple(log.latency_ms),
            lag_ms=log.lag_ms,
        )

    @abstractmethod
    def begin(self, episode: EpisodeKey, seed: int) -> None:
        """The world was reset, and the episode starts now."""

    @abstractmethod
    def attempt(self, subtask: Subtask, log: EpisodeLog, film: Film) -> tuple[Outcome, str]:
        """Go for a subtask from where the world is: what came of it, and why if it had to be broken off.

        Raises:
            SimulatorFailedError: the simulator cannot go on.
        """

    @abstractmethod
    def end(self) -> None:
        """The episode is over."""

    def _run(
        self, task: SimTask, initial_state: int, seed: int, log: EpisodeLog, video: Video | None
    ) -> tuple[Outcome, str, tuple[SubtaskResult, ...]]:
        try:
            log.simulated(self.simulator.reset, task, initial_state, seed)
            log.simulator_s = 0.0  # rates are about steps and images
            asked = log.simulated(self.simulator.subtasks, task, initial_state)
            if task.index in self.told:
                asked = tuple(replace(subtask, instruction=self.told[task.index]) for subtask in asked)
        except SimulatorFailedError as failure:
            return "simulator_failed", str(failure), ()
        self.begin((task.index, initial_state), seed)
        try:
            return self._run_subtasks(asked, log, video)
        finally:
            self.end()

    def _run_subtasks(
        self, asked: tuple[Subtask, ...], log: EpisodeLog, video: Video | None
    ) -> tuple[Outcome, str, tuple[SubtaskResult, ...]]:
        """One after another, until the first one that fails; time goes on in between, too."""
        results: list[SubtaskResult] = []
        outcome: Outcome = "success"
        reason = ""
        for number, subtask in enumerate(asked, 1):
            if outcome != "success":
                results.append(_result(subtask, "not_reached", 0))
                continue
            before = log.steps
            film = Film(
                video=video,
                every_n_steps=self.video_every_n_steps,
                instruction=subtask.instruction,
                part=f"{number} of {len(asked)}, " if len(asked) > 1 else "",
                max_steps=self.simulator.max_steps,
            )
            try:
                log.simulated(self.simulator.begin, subtask)
                outcome, reason = self.attempt(subtask, log, film)
            except SimulatorFailedError as failure:
                outcome, reason = "simulator_failed", str(failure)
            results.append(_result(subtask, outcome, log.steps - before))
        return outcome, reason, tuple(results)

    def view(self, log: EpisodeLog) -> View:
        """What the camera sees now."""

        def render() -> np.ndarray:
            log.rendered += 1
            return log.simulated(self.simulator.render)

        return View(render)

    def is_done(self, steps: int, log: EpisodeLog) -> bool:
        """Whether the subtask counts as done after so many steps of it."""
        counts_now = self.simulator.ends_at_success or steps == self.simulator.max_steps
        return counts_now and log.simulated(self.simulator.is_success)

    def execute(self, command: Command, log: EpisodeLog) -> None:
        """One control period of the world."""
        log.add(command, self.simulator.is_clamped(command))
        log.simulated(self.simulator.step, command)


def _result(subtask: Subtask, outcome: Outcome | Literal["not_reached"], steps: int) -> SubtaskResult:
    return SubtaskResult(name=subtask.name, instruction=subtask.instruction, outcome=outcome, steps=steps)
