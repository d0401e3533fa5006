"""Where a policy's own mistakes lead, and how the expert mends them (after DAgger, arXiv 1011.0686).

The policy drives for a while, the expert takes over and finishes, and only what the expert does is recorded: a chunk of
labels must be what one driver does in a row, and under the policy's hands the expert's wishes are none.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_ros.action import ARM_DIM, Command
from vla_ros.config import check_numbers
from vla_ros.control.gripper import HALF_OPEN
from vla_ros.errors import ConfigError
from vla_ros.observation import Observation
from vla_ros.sim.simulator import SimTask, Simulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """Attributes:
    bundle: the policy, a folder that `vla-ros export` wrote for this camera.
    share: of the attempts that begin with the policy at the wheel; the expert drives the others from the start.
    max_steps: the expert takes over after a number of steps that is uniform up to this one.
    execution_horizon: actions of each chunk that are executed, as on the robot.
    """

    bundle: Path
    share: float = 0.75
    max_steps: int = 150
    execution_horizon: int = 8

    def __post_init__(self) -> None:
        check_numbers(self, "max_steps", "execution_horizon", least=1)
        if not 0 < self.share <= 1:
            raise ValueError(f"share: expected in (0, 1], got {self.share}")

    def draw_steps(self, random: np.random.Generator) -> int:
        """For how many steps the policy drives in one attempt."""
        return int(random.integers(1, self.max_steps + 1)) if random.random() < self.share else 0


class PolicyDriver:
    """The policy at the wheel, without topics and without the gate: what is collected is no measurement.

    Attributes:
        config: as it was given.
    """

    def __init__(self, config: Takeover) -> None:
        """Raises:
        BundleError, EngineError: as `PolicyRunner.open`.
        ConfigError: its chunks are shorter than what is to be executed of each.
        """
        from vla_ros.engines.policy_runner import PolicyRunner

        self._runner = PolicyRunner.open(config.bundle, "onnx_cpu", threads=1)
        chunk_size = self._runner.contract.chunk_size
        if config.execution_horizon > chunk_size:
            raise ConfigError(
                f"takeover.execution_horizon: expected at most {chunk_size}, the chunk of {config.bundle}, "
                f"got {config.execution_horizon}"
            )
        self.config = config

    def drive(self, simulator: Simulator, task: SimTask, steps: int) -> None:
        """So many steps, or until the task is done.

        Raises:
            ObservationError: the policy was made for another camera.
        """
        horizon = self.config.execution_horizon
        for step in range(steps):
            if simulator.is_success():
                return
            if step % horizon == 0:
                observation = Observation(image=simulator.render(), instruction=task.instruction, stamp_ns=0)
                actions = self._runner.predict(observation).actions.astype(np.float64)
            action = actions[step % horizon]
            simulator.step(Command(delta=action[:ARM_DIM], gripper=float(action[ARM_DIM] > HALF_OPEN)))
