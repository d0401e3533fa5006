"""One evaluation episode in lockstep: the simulated world stands still until its question is answered. No ROS here."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import Command
from vla_ros.sim.episode import EpisodeResult
from vla_ros.sim.simulator import SimTask, Simulator

MIN_JUMP_NS = 1_000_000_000
"""At least so much simulated time passes between two episodes, so that every old chunk has expired [ns]."""

Outcome = Literal["success", "timeout", "held", "no_command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the gate made of one control period.

    Attributes:
        command: to be executed now, or None if none came in time.
        gate_state: the gate's own word, e.g. `RUN`.
        problem: why the episode must end: the gate holds, or is silent; empty otherwise.
        reaction_ms: from the publication of the image to the command [ms, wall clock].
    """

    command: Command | None
    gate_state: str
    problem: str
    reaction_ms: float


class Link(Protocol):
    """The way to the policy and the gate."""

    def instruct(self, text: str) -> str:
        """Make this the instruction; why it was not taken, or empty."""

    def ask(self, stamp_ns: int, image: NDArray[np.uint8] | None) -> Reply:
        """Show an image, if there is one, let the time be `stamp_ns` and wait for the command."""


class Video(Protocol):
    """`vla_ros.evaluation.video.VideoWriter`, or a list in a test."""

    def add(self, frame: NDArray[np.uint8], lines: list[str]) -> None:
        """Append one frame with its captions."""

    def close(self) -> None:
        """Finish the file."""


VideoFactory = Callable[[Path, float], Video]


class SimClock:
    """The simulation's time: it never goes back, not between episodes either.

    It starts at the wall clock's time, so that a second run of the bridge is later than the first one for nodes that
    saw both.
    """

    def __init__(self, start_ns: int) -> None:
        self.now_ns = start_ns

    def advance(self, duration_ns: int) -> None:
        """Let time pass."""
        self.now_ns += duration_ns


@dataclass(slots=True, kw_only=True)
class EpisodeRunner:
    """Runs episodes of one simulator.

    Attributes:
        simulator, link, clock: the world, the way to policy and gate, and the time.
        observe_every_n_steps: an image each so many steps: the gate's execution horizon.
        video_every_n_steps: a video frame each so many steps; 0: only the images that the policy sees.
        on_step: called with (step, gate state) after each step, for a progress display.
    """

    simulator: Simulator
    link: Link
    clock: SimClock
    observe_every_n_steps: int
    video_every_n_steps: int
    on_step: Callable[[int, str], None]

    def run(self, task: SimTask, initial_state: int, seed: int, video: Video | None, video_name: str) -> EpisodeResult:
        """One episode, from reset to its end; whatever ends it, the simulator's last command is a stop or its own."""
        start = time.monotonic()
        log = _Log()
        self.simulator.reset(task, initial_state, seed)
        problem = self.link.instruct(task.instruction)
        outcome: Outcome
        outcome, reason = ("held", problem) if problem else self._loop(task, log, video)
        period_ns = self.simulator.action_space.period_ns
        self.clock.advance(max(MIN_JUMP_NS, (self.observe_every_n_steps + 1) * period_ns))
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
            wall_s=time.monotonic() - start,
        )

    def _loop(self, task: SimTask, log: "_Log", video: Video | None) -> tuple[Outcome, str]:
        for step in range(self.simulator.max_steps):
            is_observed = step % self.observe_every_n_steps == 0
            image = self.simulator.render() if is_observed else None
            reply = self.link.ask(self.clock.now_ns, image)
            if video is not None:
                self._film(video, step, image, task, reply.gate_state)
            self._execute(reply.command or Command.stop(), log)
            if reply.command is None:
                return "no_command", reply.problem
            if reply.problem:
                return "held", reply.problem
            if is_observed:
                log.reaction_ms.append(reply.reaction_ms)
            self.on_step(step + 1, reply.gate_state)
            if self.simulator.is_success():
                if video is not None:
                    video.add(self.simulator.render(), [task.instruction, f"step {step + 1}: success"])
                return "success", ""
        return "timeout", ""

    def _execute(self, command: Command, log: "_Log") -> None:
        log.add(command, self.simulator.is_clamped(command))
        self.simulator.step(command)
        self.clock.advance(self.simulator.action_space.period_ns)

    def _film(self, video: Video, step: int, image: NDArray[np.uint8] | None, task: SimTask, state: str) -> None:
        every = self.video_every_n_steps
        if every and step % every == 0:
            image = self.simulator.render() if image is None else image
        elif every:
            return
        if image is not None:
            video.add(image, [task.instruction, f"step {step} of {self.simulator.max_steps}: {state}"])


@dataclass(slots=True)
class _Log:
    steps: int = 0
    clamped_steps: int = 0
    reaction_ms: list[float] = field(default_factory=list)
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, command: Command, is_clamped: bool) -> None:
        gripper = np.nan if command.gripper is None else command.gripper
        self.sha256.update(np.append(command.delta, gripper).astype("<f8").tobytes())
        self.steps += 1
        self.clamped_steps += is_clamped
