"""LIBERO with the object to be moved elsewhere: a test of whether a policy sees where it is.

LIBERO's recorded initial states hardly move it (in `libero_object` not at all), so that a policy that has learned one
place by heart does as well there as one that looks.
"""

import numpy as np

from vla_ros.errors import SimulatorError
from vla_ros.sim.libero import LiberoSimulator
from vla_ros.sim.perturbation import move_target
from vla_ros.sim.simulator import SimTask


class MovedTargetLibero(LiberoSimulator):
    """LIBERO's recorded initial states, with the target moved uniformly in x and y, among the places that are free.

    Where to is decided by (seed, task, initial state) alone.

    Args:
        suite, width_px, height_px: as of LIBERO.
        moved_m: by how much at most, along either axis [m].
        tasks: which are to be run; each is to be about one object that goes somewhere.

    Raises:
        SimulatorError: as LIBERO, or a task is about something else; in `reset` also if no free place is found.
    """

    def __init__(self, suite: str, width_px: int, height_px: int, *, moved_m: float, tasks: tuple[int, ...]) -> None:
        super().__init__(suite, width_px, height_px)
        self._moved_m = moved_m
        for index in tasks:
            goals = self.goals(self.task(index))
            if len(goals) != 1:
                raise SimulatorError(
                    f"{suite}: moved_target_m: expected tasks with one In or On goal, got {len(goals)} in {index} "
                    f"({self.task(index).name})"
                )

    def reset(self, task: SimTask, initial_state: int, seed: int) -> None:
        """Restore one of the benchmark's recorded initial states, move the target, and let everything settle."""
        self.restore(task, initial_state, seed)
        move_target(self, task, self._moved_m, np.random.default_rng((seed, task.index, initial_state)))
        self.settle()
