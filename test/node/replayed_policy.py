"""policy_node for a replay: the stub that made the run, and others that are almost or not at all like it."""

import dataclasses
import sys
from pathlib import Path

import numpy as np

from test.node.stub_policy import StubPolicy, make_contract
from vla_ros.action import ActionChunk
from vla_ros.node import policy_node
from vla_ros.observation import Observation

LAST_BIT_ROW, LAST_BIT_COLUMN = 2, 1
OTHER_M = 0.001
OTHER_SHA256 = "1" * 64


class ReplayedPolicy(StubPolicy):
    """The engine's name says which: off by the last bit of one number, of an `other` bundle, for another camera, or
    what the stub knows."""

    def __init__(self, behaviour: str) -> None:
        super().__init__(behaviour)
        if behaviour == "camera":
            self.contract = make_contract(64)
        if behaviour == "other":
            self.bundle_sha256 = OTHER_SHA256

    def predict(self, observation: Observation) -> ActionChunk:
        chunk = super().predict(observation)
        actions = chunk.actions.copy()
        if self._behaviour == "last_bit":
            place = LAST_BIT_ROW, LAST_BIT_COLUMN
            actions[place] = np.nextafter(actions[place], np.float32(1))
        if self._behaviour == "other":
            actions[:, 0] += OTHER_M
            actions[:4, 6] = 0.0
        return dataclasses.replace(chunk, actions=actions)


def open_policy(bundle: Path, engine: str, threads: int) -> ReplayedPolicy:
    """Stands in for PolicyRunner.open."""
    return ReplayedPolicy(engine)


if __name__ == "__main__":
    sys.exit(policy_node.main(open_policy=open_policy))
