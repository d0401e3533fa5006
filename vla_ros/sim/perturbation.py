"""What makes demonstrations differ: noise on the executed actions, and placements that vary."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ARM_DIM
from vla_ros.config import check_numbers
from vla_ros.errors import SimulatorError
from vla_ros.sim.libero import LiberoSimulator
from vla_ros.sim.simulator import SimTask

PLACEMENT_TRIES = 200

Box = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What is added to the expert's actions when they are executed; LIBERO units (1 is 0.05 m or 0.5 rad).

    Attributes:
        white: standard deviation at every step.
        burst: standard deviation of a constant push that lasts several steps; never near the object or while the
            fingers move.
        burst_probability: chance per step that a burst begins.
        burst_min_steps: shortest burst.
        burst_max_steps: longest burst.
        rotation_share: rotation gets this share of the noise.
    """

    white: float = 0.08
    burst: float = 0.5
    burst_probability: float = 0.03
    burst_min_steps: int = 3
    burst_max_steps: int = 8
    rotation_share: float = 0.3

    def __post_init__(self) -> None:
        check_numbers(self, "white", "burst", "burst_probability", "rotation_share", least=0)
        if not 1 <= self.burst_min_steps <= self.burst_max_steps:
            raise ValueError(f"burst_min_steps: expected 1 to burst_max_steps, got {self.burst_min_steps}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter:
    """How far things are moved from where LIBERO's random reset put them.

    Attributes:
        shuffle: share of the episodes in which all objects but the container change places among themselves first. In
            `libero_object` what is to be moved otherwise always has the same place, and nobody needs to be told what it
            is.
        target_m: the object to be moved, uniformly in x and y.
        goal_m: the container, uniformly in x and y.
        distractor_m: everything else, uniformly in x and y.
        clearance_m: least free space around the target, for the fingers; others keep a third of it.
        joint_rad: standard deviation of each arm joint.
    """

    shuffle: float = 0.0
    target_m: float = 0.03
    goal_m: float = 0.015
    distractor_m: float = 0.015
    clearance_m: float = 0.03
    joint_rad: float = 0.02

    def __post_init__(self) -> None:
        check_numbers(self, "target_m", "goal_m", "distractor_m", "clearance_m", "joint_rad", least=0)
        if not 0 <= self.shuffle <= 1:
            raise ValueError(f"shuffle: expected 0 to 1, got {self.shuffle}")


class NoiseSource:
    """White noise with bursts, in LIBERO units."""

    def __init__(self, noise: Noise, random: np.random.Generator) -> None:
        self._noise, self._random = noise, random
        self._share = np.array([1.0] * 3 + [noise.rotation_share] * 3)
        self._burst: NDArray[np.float64] = np.zeros(ARM_DIM)
        self._burst_steps_left = 0

    def sample(self, is_quiet: bool) -> NDArray[np.float64]:
        """The noise of one step, [6]; without a burst while `is_quiet`."""
        noise = self._noise
        white = self._random.normal(0.0, noise.white, ARM_DIM)
        if is_quiet:
            self._burst_steps_left = 0
        elif self._burst_steps_left > 0:
            self._burst_steps_left -= 1
        elif self._random.random() < noise.burst_probability:
            self._burst = self._random.normal(0.0, noise.burst, ARM_DIM)
            self._burst_steps_left = int(self._random.integers(noise.burst_min_steps, noise.burst_max_steps + 1))
        return self._share * (white + (self._burst if self._burst_steps_left > 0 else 0.0))


def place(simulator: LiberoSimulator, task: SimTask, jitter: Jitter, random: np.random.Generator) -> None:
    """A random reset with everything moved about, nothing that moved in touch with anything else, and settled.

    Raises:
        SimulatorError: no placement without an overlap was found.
    """
    simulator.sample(task, seed=int(random.integers(2**31)))
    target, container = simulator.goal()[0], simulator.goal_object()
    is_shuffled = jitter.shuffle > 0 and random.random() < jitter.shuffle
    if is_shuffled:
        _shuffle(simulator, [name for name in simulator.objects() if name != container], random)
    radius = {
        name: jitter.target_m if name == target else jitter.goal_m if name == container else jitter.distractor_m
        for name in simulator.objects()
    }
    # what stays may stand on something else that stays
    moved = {name: most_m for name, most_m in radius.items() if is_shuffled or most_m > 0}
    _shift(simulator, task, moved, jitter.clearance_m, random)
    simulator.shift_joints(random.normal(0.0, jitter.joint_rad, 7))
    simulator.settle()


def _shuffle(simulator: LiberoSimulator, names: list[str], random: np.random.Generator) -> None:
    """Let these objects change places, each to where the middle of another one was."""
    boxes = simulator.objects()
    for name, other in zip(names, random.permutation(names), strict=True):
        simulator.shift(name, (boxes[other][0] - boxes[name][0])[:2])


def move_target(simulator: LiberoSimulator, task: SimTask, most_m: float, random: np.random.Generator) -> None:
    """Move the object that the task is about to a free place, uniformly in x and y; only before `settle`.

    Raises:
        SimulatorError: no placement without an overlap was found.
    """
    _shift(simulator, task, {simulator.goal()[0]: most_m}, Jitter().clearance_m, random)


def _shift(
    simulator: LiberoSimulator,
    task: SimTask,
    radius_m: dict[str, float],
    clearance_m: float,
    random: np.random.Generator,
) -> None:
    """Move the named objects uniformly in x and y, so that nothing touches anything else."""
    target, boxes = simulator.goal()[0], simulator.objects()
    for _ in range(PLACEMENT_TRIES):
        shifts = {name: random.uniform(-r, r, 2) for name, r in radius_m.items()}
        if _are_clear(boxes, shifts, target, clearance_m):
            break
    else:
        raise SimulatorError(f"{task.name}: expected a free placement, got overlaps in {PLACEMENT_TRIES} tries")
    for name, shift in shifts.items():
        simulator.shift(name, shift)


def _are_clear(boxes: dict[str, Box], shifts: dict[str, NDArray[np.float64]], target: str, clearance_m: float) -> bool:
    """Whether what is moved comes no closer to anything than the clearance, or a third of it without the target.

    It is about bounding boxes, and about no two things that both stay where they are.
    """
    names = list(boxes)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if first not in shifts and second not in shifts:
                continue
            (centre_1, half_1), (centre_2, half_2) = boxes[first], boxes[second]
            centre_1, centre_2 = centre_1[:2] + shifts.get(first, 0.0), centre_2[:2] + shifts.get(second, 0.0)
            apart = np.abs(centre_1 - centre_2) - half_1[:2] - half_2[:2]
            if apart.max() < (clearance_m if target in (first, second) else clearance_m / 3):
                return False
    return True
