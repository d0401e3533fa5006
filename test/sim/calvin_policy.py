"""policy_node with a policy that needs no image: it plays `calvin_script` by the time of the images.

Time between two images is time in which rows were executed, so it knows where the arm's target is.
"""

import sys
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from test.node.stub_policy import StubPolicy, make_contract
from test.sim.calvin_script import START, rows
from vla_ros.action import GRIPPER_CLOSED, ActionChunk
from vla_ros.data.conventions import CALVIN
from vla_ros.node import policy_node
from vla_ros.observation import CameraSpec, Observation

CHUNK_SIZE = 10
NEW_EPISODE_NS = 500_000_000
"""Episodes are further apart than this, images of one are not [ns]."""


class CalvinPolicy(StubPolicy):
    """Does what the script knows, and nothing for other instructions."""

    def __init__(self, size_px: int = 200) -> None:
        super().__init__()
        camera = CameraSpec(name="rgb_static", width=size_px, height=size_px)
        self.contract = replace(make_contract(), camera=camera, action=CALVIN.action, chunk_size=CHUNK_SIZE)
        self._instruction = ""
        self._rows: NDArray[np.float64] = np.zeros((0, 3))
        self._target = np.array(START)
        self._begun_ns = self._last_ns = 0

    def predict(self, observation: Observation) -> ActionChunk:
        now_ns = observation.stamp_ns
        is_new = now_ns - self._last_ns > NEW_EPISODE_NS
        if is_new or observation.instruction != self._instruction:
            self._target = np.array(START) if is_new else self._target + self._rows[: self._done(now_ns)].sum(axis=0)
            self._instruction, self._begun_ns = observation.instruction, now_ns
            self._rows = rows(self._instruction, self._target)
        self._last_ns = now_ns
        actions = np.zeros((CHUNK_SIZE, 7), np.float32)
        actions[:, 6] = GRIPPER_CLOSED
        due = self._rows[self._done(now_ns) :][:CHUNK_SIZE]
        actions[: len(due), :3] = due
        space = self.contract.action
        return ActionChunk(
            actions=actions,
            stamp_ns=now_ns,
            period_ns=space.period_ns,
            frame_id=space.frame_id,
            rotation=space.rotation,
        )

    def _done(self, now_ns: int) -> int:
        return round((now_ns - self._begun_ns) / self.contract.action.period_ns)


if __name__ == "__main__":
    sys.exit(policy_node.main(open_policy=lambda bundle, engine, threads: CalvinPolicy()))
