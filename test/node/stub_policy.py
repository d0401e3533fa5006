"""A policy without a network: its chunk depends on image and instruction alone. As a program: policy_node with it."""

import sys
import time
from pathlib import Path

import numpy as np

from vla_ros.action import ActionChunk, ActionSpace
from vla_ros.contract import ImageSpec, PolicyContract, PromptSpec
from vla_ros.errors import ObservationError
from vla_ros.node import policy_node
from vla_ros.observation import CameraSpec, Observation

CHUNK_SIZE = 8


def make_contract(size_px: int = 32) -> PolicyContract:
    """The contract of a stub for a square camera."""
    return PolicyContract(
        name="stub",
        backbone="qwen3_vl",
        recipe="paper",
        camera=CameraSpec(name="fake", width=size_px, height=size_px),
        image=ImageSpec(
            size_px=32, patch_size_px=16, merge_size=2, temporal_patch_size=2, mean=(0.5,) * 3, std=(0.5,) * 3
        ),
        prompt=PromptSpec(template="qwen_short", max_tokens=64),
        action=ActionSpace(frame_id="base", rotation="axis_angle", control_rate_hz=20.0),
        chunk_size=CHUNK_SIZE,
        statistics_sha256="0" * 64,
    )


class StubPolicy:
    """Moves about 5 mm a step; the engine's name says how: ok, raise, not_a_number, hang, wrong_frame, or pause: it
    makes a file `started` and waits for a file `release`."""

    SPECIAL_TOKEN = "<special>"
    """Of its tokenizer, if it had one: no instruction may say it."""

    def __init__(self, behaviour: str = "ok") -> None:
        self.contract = make_contract()
        self.bundle_sha256 = "0" * 64
        self._behaviour = behaviour

    def admit_instruction(self, text: str) -> None:
        if self.SPECIAL_TOKEN in text:
            raise ObservationError(f"instruction: expected plain text, got the special token {self.SPECIAL_TOKEN}")

    def predict(self, observation: Observation) -> ActionChunk:
        if self._behaviour == "raise":
            raise RuntimeError("out of memory, says the stub")
        if self._behaviour == "pause":
            Path("started").touch()
            while not Path("release").exists():
                time.sleep(0.01)
        if self._behaviour == "hang":
            time.sleep(3600.0)
        seed = int(observation.image.astype(np.int64).sum()) + len(observation.instruction)
        actions = np.random.default_rng(seed).uniform(0.002, 0.004, (CHUNK_SIZE, 7)).astype(np.float32)
        actions[:, 6] = 1.0
        if self._behaviour == "not_a_number":
            actions[3, 2] = np.nan
        frame = "world" if self._behaviour == "wrong_frame" else self.contract.action.frame_id
        return ActionChunk(
            actions=actions,
            stamp_ns=observation.stamp_ns,
            period_ns=self.contract.action.period_ns,
            frame_id=frame,
            rotation=self.contract.action.rotation,
        )


def open_stub(bundle: Path, engine: str, threads: int) -> StubPolicy:
    """Stands in for PolicyRunner.open."""
    return StubPolicy(engine)


if __name__ == "__main__":
    sys.exit(policy_node.main(open_policy=open_stub))
