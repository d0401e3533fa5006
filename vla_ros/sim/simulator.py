"""What every simulator offers: the compliance suite in `test/sim` holds each bridge to this."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ActionSpace, Command
from vla_ros.observation import CameraSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SimTask:
    """One task of a suite.

    Attributes:
        index: position in its suite.
        name: the suite's own name for it.
        instruction: what the policy is told; where its episodes have several subtasks, a phrase for reports.
        initial_states: how many recorded initial states the benchmark has for it.
    """

    index: int
    name: str
    instruction: str
    initial_states: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtask:
    """One thing that an episode asks for. Most benchmarks ask for one an episode, CALVIN for five in a row.

    Attributes:
        name: the benchmark's own name for it.
        instruction: what the policy is told while it is due.
    """

    name: str
    instruction: str


class Simulator(Protocol):
    """A simulated robot, camera and task.

    Attributes:
        camera: the view that `render` returns.
        action_space: units, frame and rate of the commands that `step` takes.
        ends_at_success: whether an episode is over once its subtask is done. If not, the benchmark runs it to its limit
            and counts the state there: what was done may be undone.
    """

    camera: CameraSpec
    action_space: ActionSpace
    ends_at_success: bool

    @property
    def max_steps(self) -> int:
        """The benchmark's limit on steps per subtask, of the task that was last reset."""

    def tasks(self) -> tuple[SimTask, ...]:
        """All tasks of the suite, in the suite's order."""

    def reset(self, task: SimTask, initial_state: int, seed: int) -> None:
        """Put the world into one of the benchmark's initial states and let it settle.

        Raises:
            SimulatorError: there is no such initial state.
        """

    def subtasks(self, task: SimTask, initial_state: int) -> tuple[Subtask, ...]:
        """What an episode from this initial state asks for: at least one, in order, and no reset in between."""

    def begin(self, subtask: Subtask) -> None:
        """From now on, `is_success` is about this subtask, done from the present state; the world does not change."""

    def render(self) -> NDArray[np.uint8]:
        """The camera's view now: uint8 [height, width, 3], RGB, upright. Rendering never changes the physics."""

    def step(self, command: Command) -> None:
        """Execute one control period. A command whose gripper is None keeps the last commanded opening."""

    def is_clamped(self, command: Command) -> bool:
        """Whether the command asks for more than the robot's controller takes, so that `step` shortens it."""

    def is_success(self) -> bool:
        """Whether the subtask that was begun last is done in the present state."""

    def close(self) -> None:
        """Free the simulator."""
