"""policy_node with a stub that keeps every observation: `bundle` names the folder that they go to."""

import sys
from pathlib import Path

import numpy as np

from test.node.stub_policy import StubPolicy, make_contract
from vla_ros.action import ActionChunk
from vla_ros.node import policy_node
from vla_ros.observation import Observation

SIZE_PX = 128


class RecordingPolicy(StubPolicy):
    """Answers as the stub does."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.contract = make_contract(SIZE_PX)
        self._folder = folder
        self._count = 0

    def predict(self, observation: Observation) -> ActionChunk:
        chunk = super().predict(observation)
        partial = self._folder / "partial.npz"
        np.savez(partial, image=observation.image, instruction=observation.instruction, actions=chunk.actions)
        partial.replace(self._folder / f"observation{self._count}.npz")
        self._count += 1
        return chunk


if __name__ == "__main__":
    sys.exit(policy_node.main(open_policy=lambda bundle, engine, threads: RecordingPolicy(bundle)))
