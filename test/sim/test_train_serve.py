"""Train = serve, in real LIBERO over real ROS 2: the policy gets the very pixels that demonstrations hold.

What follows from the pixels on, patches and token ids, is compared in test/train/test_train_serve.py.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from test.node import fleet as fleet_module
from test.node.fleet import GATE, LIMIT_S, POLICY, Fleet
from test.sim.recording_policy import SIZE_PX
from vla_ros.action import Command

pytest.importorskip("libero")
pytestmark = pytest.mark.sim

from vla_ros.data.libero import LiberoDataset  # noqa: E402
from vla_ros.data.libero_writer import Recording, write_file  # noqa: E402
from vla_ros.node.messages import command_from_messages, joint_state_from_command, twist_from_command  # noqa: E402
from vla_ros.sim.libero import LiberoSimulator  # noqa: E402

IMAGES = 3
HORIZON = int(GATE["execution_horizon"])  # type: ignore[call-overload]


@pytest.fixture
def simulator() -> Iterator[LiberoSimulator]:
    simulator = LiberoSimulator("libero_object", SIZE_PX, SIZE_PX)
    yield simulator
    simulator.close()


def observe_over_ros(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, np.ndarray]]:
    """What the policy was given in the first IMAGES observations of an episode."""
    monkeypatch.setitem(fleet_module.PROGRAMS, "policy_node", "test.sim.recording_policy")
    monkeypatch.setitem(fleet_module.PROGRAMS, "sim_bridge", "vla_ros.sim.bridge_node")
    seen = fleet.folder / "seen"
    seen.mkdir()
    fleet.start_node("policy_node", {**POLICY, "bundle": str(seen)})
    fleet.start_node("command_gate", {**GATE, "chunk_timeout_s": 20.0})
    fleet.start_bridge(
        suite="libero_object", tasks=[0], episodes_per_task=1, camera_size_px=SIZE_PX, video_every_n_steps=0
    )
    files = [seen / f"observation{index}.npz" for index in range(IMAGES)]
    deadline = time.monotonic() + 2 * LIMIT_S
    while not files[-1].exists():
        assert time.monotonic() < deadline, "the policy saw too few images"
        assert fleet.is_alive("sim_bridge")
        time.sleep(0.1)
    fleet.interrupt("sim_bridge")
    return [dict(np.load(file)) for file in files]


def as_commanded(row: np.ndarray) -> Command:
    """What becomes of a row on its way through the messages."""
    sent = Command(delta=row[:6].astype(np.float64), gripper=float(row[6]))
    twist = twist_from_command(sent, 0, "base", 20.0)
    return command_from_messages(twist, joint_state_from_command(sent, 0), 20.0)


def test_the_image_over_ros_is_the_image_of_the_demonstration_pixel_for_pixel(
    fleet: Fleet, simulator: LiberoSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = observe_over_ros(fleet, monkeypatch)

    task = simulator.task(0)
    simulator.reset(task, initial_state=0, seed=0)
    frames = []
    for observation in served:  # the same states again, in another process
        frames.append(simulator.render()[::-1])
        for row in observation["actions"][:HORIZON]:
            simulator.step(as_commanded(row))
    datasets = {
        "actions": np.zeros((IMAGES, 7)),
        "states": np.zeros((IMAGES, 1)),
        "obs/agentview_rgb": np.stack(frames),
    }
    recording = Recording(datasets=datasets, phase_names=(), attributes={})
    problem = {"problem_info": json.dumps({"language_instruction": task.instruction})}
    write_file(tmp_path / "soup_demo.hdf5", problem, [recording])
    trained = LiberoDataset(tmp_path / "soup_demo.hdf5").episode(0)
    images = trained.frames(np.arange(IMAGES))

    assert len({image.tobytes() for image in images}) == IMAGES  # the arm did move
    for observation, image in zip(served, images, strict=True):
        np.testing.assert_array_equal(observation["image"], image)
        assert str(observation["instruction"]) == trained.instruction
