"""One episode in real time: the world does not wait. No ROS here.

The world's time is the wall clock's. Each control period is simulated as soon as it is over, with what the arm was
commanded to do during it; so the world is behind the clock by one step of the simulator, and by an image while one is
rendered, after which it catches up. An image carries the time of the world that it shows: what rendering takes is
charged to the policy's latency, as a camera's exposure and transport are. A simulator that falls behind by more than
`max_lag_s` cannot be run in real time: the episode ends as the simulator's failure, because slowing the clock down
would give the policy time that it does not have. `--mode latency` asks the same question without a fast machine.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vla_ros.action import Command, Rotation
from vla_ros.control.displacement import NONE, Displacement, compose
from vla_ros.sim.camera_schedule import Shot
from vla_ros.sim.episode import EpisodeKey, Outcome
from vla_ros.sim.episode_runner import EpisodeLog, SimulatorFailedError, SubtaskRunner
from vla_ros.sim.film import Film
from vla_ros.sim.simulator import Subtask

MAX_LAG_S = 1.0
"""How far the world may be behind the wall clock, for a while [s]."""


@dataclass(slots=True)
class _Commanded:
    stamp_ns: int
    command: Command
    done: float = 0.0


class PlayedCommands:
    """An arm's commands in continuous time: each is made evenly during the period that follows its stamp, and once.

    Gate and simulator tick at the same rate, but not together: so nothing is lost or done twice where two commands fall
    into one step of the world, or none. An arm whose gate died stands still one period later.
    """

    def __init__(self, period_ns: int, rotation: Rotation) -> None:
        self._period_ns = period_ns
        self._rotation = rotation
        self._commands: list[_Commanded] = []
        self._gripper: float | None = None

    def clear(self) -> None:
        """Forget what is not done yet."""
        self._commands, self._gripper = [], None

    def add(self, stamp_ns: int, command: Command) -> None:
        """One more command, from `stamp_ns` on [ns]."""
        self._commands.append(_Commanded(stamp_ns, command))

    def until(self, instant_ns: int) -> Command:
        """All that is done until `instant_ns` and was not done in a former call."""
        total: Displacement = NONE
        for commanded in self._commands:
            if commanded.stamp_ns < instant_ns and commanded.command.gripper is not None:
                self._gripper = commanded.command.gripper
            share = min(max((instant_ns - commanded.stamp_ns) / self._period_ns, 0.0), 1.0)
            total = compose(total, (share - commanded.done) * commanded.command.delta, self._rotation)
            commanded.done = share
        self._commands = [commanded for commanded in self._commands if commanded.done < 1.0]
        return Command(delta=np.array(total), gripper=self._gripper)


class RealTimeLink(Protocol):
    """The way to the policy and the gate.

    Attributes:
        gate_state: the gate's last word.
    """

    gate_state: str

    def tell(self, text: str) -> None:
        """Make this the instruction."""

    def show(self, shot: Shot) -> None:
        """Publish an image."""

    def listen(self, until_ns: int) -> None:
        """Take in messages until then, at least what is there already [ns, wall clock]."""

    def commands(self) -> list[tuple[int, Command]]:
        """What came since the last call, with their stamps [ns]."""

    def is_policy_free(self) -> bool:
        """Whether the last image was answered, or will not be."""

    def reactions_ms(self) -> list[float]:
        """Since the last call: from the moment that an image shows to the first command after its chunk [ms]."""

    def problem(self, text: str) -> tuple[Outcome, str] | None:
        """Why the episode with this instruction must end, if it must."""


@dataclass(slots=True, kw_only=True)
class RealTimeRunner(SubtaskRunner):
    """Runs episodes of one simulator by the wall clock.

    Attributes:
        link: the way to policy and gate.
        played: the gate's commands.
        pause_ns: for how long chunks of the last episode may still act; no less time passes between two episodes [ns].
        max_lag_s: how far the world may be behind the wall clock [s].
        now_ns: the wall clock, which stamps of images and commands are of [ns].
    """

    link: RealTimeLink
    played: PlayedCommands
    pause_ns: int
    max_lag_s: float = MAX_LAG_S
    now_ns: Callable[[], int] = time.time_ns
    _world_ns: int = field(default=0, init=False)

    def begin(self, episode: EpisodeKey, seed: int) -> None:
        self.link.listen(self.now_ns() + self.pause_ns)
        self.link.commands()
        self.link.reactions_ms()
        self.played.clear()
        self._world_ns = self.now_ns()

    def end(self) -> None:
        pass

    def attempt(self, subtask: Subtask, log: EpisodeLog, film: Film) -> tuple[Outcome, str]:
        self.link.tell(subtask.instruction)
        for step in range(self.simulator.max_steps):
            view = self.view(log)
            if self._is_up_to_date() and self.link.is_policy_free():
                self.link.show(Shot(image=view.look(), stamp_ns=self._world_ns))
            command = self._let_period_pass(log)
            film.add(step, view, command, self.link.gate_state)
            self.execute(command, log)
            self.on_step(log.steps, self.link.gate_state)
            if self.is_done(step + 1, log):
                film.end(step + 1, self.view(log))
                return "success", ""
            problem = self.link.problem(subtask.instruction)
            if problem is not None:
                return problem
        return "timeout", ""

    def _is_up_to_date(self) -> bool:
        """An image of a world that is still catching up would be old before it is rendered."""
        return self.now_ns() - self._world_ns < self.simulator.action_space.period_ns

    def _let_period_pass(self, log: EpisodeLog) -> Command:
        """The world's next period, once it is over: what the arm did during it."""
        self._world_ns += self.simulator.action_space.period_ns
        self.link.listen(self._world_ns)
        self._check_lag(log)
        for stamp_ns, command in self.link.commands():
            self.played.add(stamp_ns, command)
        log.reaction_ms += self.link.reactions_ms()
        return self.played.until(self._world_ns)

    def _check_lag(self, log: EpisodeLog) -> None:
        lag_s = (self.now_ns() - self._world_ns) / 1e9
        log.lag_ms = max(log.lag_ms, 1e3 * lag_s)
        if lag_s > self.max_lag_s:
            raise SimulatorFailedError(
                f"real time: expected a world at most {self.max_lag_s:g} s behind the wall clock, got {lag_s:.2f} s; "
                "use a faster machine or fewer workers, or --mode latency, which needs neither"
            )
