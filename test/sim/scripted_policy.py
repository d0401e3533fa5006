"""policy_node with a policy that needs no image: by the image's time it plays the rows of `stacking_script`."""

import sys
from dataclasses import replace

import numpy as np

from test.node.stub_policy import StubPolicy, make_contract
from test.sim.stacking_script import ROWS_PER_CHUNK, rows
from vla_ros.action import ActionChunk
from vla_ros.data.conventions import BRIDGE
from vla_ros.node import policy_node
from vla_ros.observation import Observation

SIZE_PX = 256


class ScriptedPolicy(StubPolicy):
    """Starts anew where the image is later than the next one of an episode would be."""

    def __init__(self) -> None:
        super().__init__()
        self.contract = replace(make_contract(SIZE_PX), action=BRIDGE.action, chunk_size=ROWS_PER_CHUNK)
        self._rows = rows()
        self._start_ns = self._last_ns = 0

    def predict(self, observation: Observation) -> ActionChunk:
        period_ns = self.contract.action.period_ns
        if observation.stamp_ns - self._last_ns > ROWS_PER_CHUNK * period_ns:
            self._start_ns = observation.stamp_ns
        self._last_ns = observation.stamp_ns
        first = round((observation.stamp_ns - self._start_ns) / period_ns)
        actions = np.zeros((ROWS_PER_CHUNK, 7), np.float32)
        actions[:, 6] = self._rows[-1, 6]
        due = self._rows[first : first + ROWS_PER_CHUNK]
        actions[: len(due)] = due
        return ActionChunk(
            actions=actions,
            stamp_ns=observation.stamp_ns,
            period_ns=period_ns,
            frame_id=self.contract.action.frame_id,
            rotation=self.contract.action.rotation,
        )


if __name__ == "__main__":
    sys.exit(policy_node.main(open_policy=lambda bundle, engine, threads: ScriptedPolicy()))
