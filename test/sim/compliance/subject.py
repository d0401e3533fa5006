"""What the compliance suite must know of a simulator beyond its interface, and how it moves one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ARM_DIM, ActionSpace, Command
from vla_ros.rotation import rotation_vector_between

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Ground truth of a simulator.

    Attributes:
        position: [3], of the end effector in the frame of the deltas [m].
        quaternion_xyzw: [4], its orientation there.
        opening: of the gripper, about 1 open and about 0 closed.
        state: everything that moves, flattened.
        camera_position: [3], of the camera in the frame of the deltas [m].
    """

    position: Array
    quaternion_xyzw: Array
    opening: float
    state: Array
    camera_position: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A simulator under test.

    Attributes:
        open: opens it, importable by name, with a suite's name as its optional first argument.
        measure: its ground truth now.
        action: what its commands must mean, from the data set's conventions.
        free: [3], +1 or -1: the direction along each axis in which the arm has room.
        step_m, step_rad: what one command of the tests moves; no more than the controller takes.
        moved, turned: least and most of what was commanded in sum that the arm moves, then at rest.
        rest_steps: stops after which the arm is at rest, and the gripper where it was told to be.
        clamped: a command beyond what the controller takes, and one well within.
        max_steps: the benchmark's limit for the task with the index 0.
        turn_axes: from the effector's orientation, quaternion xyzw [4], to the axes that three numbers of a rotation
            turn about, [3, 3], in the frame of the deltas; None: the frame's own.
    """

    open: Callable[..., Any]
    measure: Callable[[Any], Measurement]
    action: ActionSpace
    free: tuple[float, float, float]
    step_m: float
    step_rad: float
    moved: tuple[float, float]
    turned: tuple[float, float]
    rest_steps: int
    clamped: Command
    max_steps: int
    turn_axes: Callable[[Array], Array] | None = None


def command(axis: int, value: float, gripper: float | None = None) -> Command:
    """A delta along or about one axis."""
    delta = np.zeros(ARM_DIM)
    delta[axis] = value
    return Command(delta=delta, gripper=gripper)


def start(simulator: Any, initial_state: int = 0, seed: int = 0, task: int = 0) -> None:
    simulator.reset(simulator.tasks()[task], initial_state, seed)


def rest(simulator: Any, subject: Subject, gripper: float | None = None) -> None:
    """Do nothing until the arm is at rest."""
    for _ in range(subject.rest_steps):
        simulator.step(Command.stop(gripper))


def motion(simulator: Any, subject: Subject, axis: int, value: float, steps: int) -> Array:
    """What `steps` equal commands and a rest move: [6], metres and a rotation vector about the axes of the frame."""
    before = subject.measure(simulator)
    for _ in range(steps):
        simulator.step(command(axis, value))
    rest(simulator, subject)
    after = subject.measure(simulator)
    turn = rotation_vector_between(after.quaternion_xyzw, before.quaternion_xyzw)
    return np.concatenate([after.position - before.position, turn])
