"""policy_node with a policy that answers at once, or one that computes on every core first; a program.

Its "bundle" is a folder with a contract in `policy.yaml`, and its engine is one of KINDS.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vla_ros import config
from vla_ros.action import ARM_DIM, GRIPPER_OPEN, ActionChunk
from vla_ros.contract import PolicyContract
from vla_ros.node import policy_node
from vla_ros.observation import Observation

Kind = Literal["zero_time", "busy"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SPEED_M_S = 0.01
"""Least speed of a chunk; see `speed_m_s`."""
CODES = 1000
CODE_M_S = 1e-5

BUSY_S = 0.025
"""How long the busy policy computes for each image [s]: three quarters of a camera's period at 30 Hz."""
SIZE = 256
"""Rows and columns of the matrices that it multiplies, on every core."""


def speed_m_s(stamp_ns: int) -> float:
    """The speed along x that answers an image [m/s]: it differs between any images less than a second apart."""
    return SPEED_M_S + CODE_M_S * (stamp_ns // 1_000_000 % CODES)


class ConstantPolicy:
    """The same motion whatever the image shows; its speed tells the image's stamp."""

    def __init__(self, contract: PolicyContract, compute: Callable[[], None]) -> None:
        self.contract = contract
        self.bundle_sha256 = "none: no network"
        self.mark: Callable[[int, str], None] = lambda stamp_ns, stage: None
        self._compute = compute
        self._actions = np.zeros((contract.chunk_size, ARM_DIM + 1), np.float32)
        self._actions[:, ARM_DIM] = GRIPPER_OPEN

    def admit_instruction(self, text: str) -> None:
        """Takes any."""

    def predict(self, observation: Observation) -> ActionChunk:
        """One chunk at constant speed."""
        self.mark(observation.stamp_ns, "prepared")
        self._compute()
        action = self.contract.action
        actions = self._actions.copy()
        actions[:, 0] = speed_m_s(observation.stamp_ns) / action.control_rate_hz
        return ActionChunk(
            actions=actions,
            stamp_ns=observation.stamp_ns,
            period_ns=action.period_ns,
            frame_id=action.frame_id,
            rotation=action.rotation,
        )


def multiply() -> None:
    """Keep every core busy for BUSY_S, as an inference engine does."""
    end = time.monotonic() + BUSY_S
    factor = np.ones((SIZE, SIZE), np.float32)
    while time.monotonic() < end:
        factor @ factor


def open_constant(bundle: Path, engine: str, threads: int) -> ConstantPolicy:
    """Stands in for PolicyRunner.open."""
    contract = config.load(bundle / "policy.yaml", PolicyContract)
    computations: dict[Kind, Callable[[], None]] = {"zero_time": lambda: None, "busy": multiply}
    return ConstantPolicy(contract, next(computations[kind] for kind in KINDS if kind == engine))


if __name__ == "__main__":
    sys.exit(policy_node.main(open_policy=open_constant))
