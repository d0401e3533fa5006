"""The bridge of a simulator that renders an image at every step, as most do: what `vla-ros bench sim` measures against.

Runs in the simulator's own virtual environment, like `vla_ros.sim.bridge_node`.
"""

import sys
from typing import Any, cast

from vla_ros.action import Command
from vla_ros.sim import bridge_node
from vla_ros.sim.episode import SimConfig
from vla_ros.sim.simulator import Simulator


class RendersEveryStep:
    """A simulator with an image of every step, which nobody looks at."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._simulator, name)

    def step(self, command: Command) -> None:
        """Execute one control period, and render."""
        self._simulator.step(command)
        self._simulator.render()


def make_simulator(sim: SimConfig) -> Simulator:
    """The simulator that the configuration names, with an image of every step."""
    return cast(Simulator, RendersEveryStep(bridge_node.make_simulator(sim)))


if __name__ == "__main__":
    sys.exit(bridge_node.main(make_simulator=make_simulator))
