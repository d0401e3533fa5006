"""The bridge of a simulator that renders an image at every step, as most do: what `vla-ros bench sim` measures against.

Runs in the simulator's own virtual environment, like `vla_ros.sim.bridge_node`.
"""

import sys
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import Command
from vla_ros.sim import bridge_node
from vla_ros.sim.episode import SimConfig
from vla_ros.sim.simulator import SimTask, Simulator


class RendersEveryStep:
    """A simulator with an image of every step, which nobody but the policy looks at."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._image: NDArray[np.uint8] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._simulator, name)

    def step(self, command: Command) -> None:
        """Execute one control period, and render."""
        self._simulator.step(command)
        self._image = self._simulator.render()

    def reset(self, task: SimTask, initial_state: int, seed: int) -> None:
        """As the simulator's; what was rendered before is another world's."""
        self._simulator.reset(task, initial_state, seed)
        self._image = None

    def render(self) -> NDArray[np.uint8]:
        """The image of this step, rendered once."""
        if self._image is None:
            self._image = self._simulator.render()
        return self._image


def make_simulator(sim: SimConfig) -> Simulator:
    """The simulator that the configuration names, with an image of every step."""
    return cast(Simulator, RendersEveryStep(bridge_node.make_simulator(sim)))


if __name__ == "__main__":
    sys.exit(bridge_node.main(make_simulator=make_simulator))
