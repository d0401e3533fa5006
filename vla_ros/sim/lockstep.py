"""One episode in simulated time: the world stands still until its question is answered. No ROS here."""

from dataclasses import dataclass, field
from typing import Protocol

from vla_ros.action import Command
from vla_ros.sim.camera_schedule import CameraSchedule, EveryNSteps, Shot, WhenPolicyIsFree
from vla_ros.sim.episode import EpisodeKey, Outcome
from vla_ros.sim.episode_runner import EpisodeLog, SubtaskRunner
from vla_ros.sim.film import Film, Image
from vla_ros.sim.latency import Latency
from vla_ros.sim.simulator import Subtask

MIN_JUMP_NS = 1_000_000_000
"""At least so much simulated time passes between two episodes, so that every old chunk has expired [ns]."""


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

    def ask(self, stamp_ns: int, image: Image | None) -> Reply:
        """Show an image, if there is one, let the time be `stamp_ns` and wait until the gate has something due."""

    def restart(self) -> None:
        """The simulator was reset: let the gate forget what was, as if it had just been started."""

    def tick(self, stamp_ns: int, shot: Shot | None) -> Reply:
        """Let the time be `stamp_ns` and wait for the command: with the chunk of `shot`, without it at once."""


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
class EpisodeRunner(SubtaskRunner):
    """Runs episodes of one simulator, whose world waits for every command.

    Attributes:
        link, clock: the way to policy and gate, and the time.
        observe_every_n_steps: an image each so many steps: the gate's execution horizon.
        latency: instead, an image whenever the policy is free, and its chunk so much later; None: no latency.
        awaits_chunks: wait for every image's chunk, although rows of an older one are due: for a temporal ensemble.
    """

    link: Link
    clock: SimClock
    observe_every_n_steps: int
    latency: Latency | None = None
    awaits_chunks: bool = False
    _schedule: CameraSchedule = field(init=False)

    def begin(self, episode: EpisodeKey, seed: int) -> None:
        self.link.restart()
        if self.latency is None:
            self._schedule = EveryNSteps(1 if self.awaits_chunks else self.observe_every_n_steps)
        else:
            self._schedule = WhenPolicyIsFree(self.latency, seed, episode)

    def end(self) -> None:
        period_ns = self.simulator.action_space.period_ns
        self.clock.advance(max(MIN_JUMP_NS, (self.observe_every_n_steps + 1) * period_ns))

    def attempt(self, subtask: Subtask, log: EpisodeLog, film: Film) -> tuple[Outcome, str]:
        self._schedule.begin()
        problem = self.link.instruct(subtask.instruction)
        if problem:
            return "held", problem
        for step in range(self.simulator.max_steps):
            view = self.view(log)
            shot = self._schedule.shot(step, self.clock.now_ns, view, log)
            reply = self._ask(shot)
            film.add(step, view, reply.command, reply.gate_state)
            self.execute(reply.command or Command.stop(), log)
            self.clock.advance(self.simulator.action_space.period_ns)
            if reply.command is None:
                return "no_command", reply.problem
            if reply.problem:
                return "held", reply.problem
            if shot is not None:
                log.reaction_ms.append(reply.reaction_ms)
            self.on_step(log.steps, reply.gate_state)
            if self.is_done(step + 1, log):
                film.end(step + 1, self.view(log))
                return "success", ""
        return "timeout", ""

    @property
    def _has_ticks(self) -> bool:
        """Whether the world goes on with nothing due, or waits although something is."""
        return self.latency is not None or self.awaits_chunks

    def _ask(self, shot: Shot | None) -> Reply:
        if self._has_ticks:
            return self.link.tick(self.clock.now_ns, shot)
        return self.link.ask(self.clock.now_ns, None if shot is None else shot.image)
