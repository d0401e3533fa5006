"""The shipped files for SimplerEnv's Bridge tasks fit the policy's training, the simulator and the protocol."""

from pathlib import Path

import pytest

from vla_ros import config
from vla_ros.control.gate_state import GateState
from vla_ros.control.gripper import voted
from vla_ros.data.conventions import BRIDGE
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.parameters import read_parameter_file
from vla_ros.sim.episode import SimConfig
from vla_ros.sim.simpler import CONTROL_RATE_HZ, EPISODES, SUITES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sim() -> SimConfig:
    return config.load(ROOT / "config/sim/simpler_bridge.yaml", SimConfig)


@pytest.fixture
def gate(sim: SimConfig) -> GateParameters:
    return read_parameter_file(ROOT / sim.robot, "command_gate", GateParameters)


def test_the_protocol_is_24_episodes_of_each_task(sim: SimConfig) -> None:
    assert sim.tasks == tuple(range(len(SUITES[sim.suite])))
    assert sim.initial_states == range(EPISODES)


def test_the_robot_executes_what_bridges_policies_mean(gate: GateParameters) -> None:
    assert gate.action_space == BRIDGE.action
    assert gate.control_rate_hz == CONTROL_RATE_HZ == 5.0
    assert gate.lockstep


def test_the_camera_is_that_of_the_training(sim: SimConfig) -> None:
    train = config.parse((ROOT / "config/train/bridge.yaml").read_text(), "bridge.yaml")
    assert (sim.camera_width_px, sim.camera_height_px) == (train["camera"]["width"], train["camera"]["height"])


def test_the_gripper_opens_only_after_two_rows_that_want_it_open_and_closes_at_once(gate: GateParameters) -> None:
    """VLM4VLA's `late_close_gripper = 2`."""
    state, commanded = GateState(gripper=0.0), []
    for wanted in (1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0):
        gripper, votes = voted(gate.gate_config, state, wanted)
        state = GateState(gripper=gripper, gripper_votes=votes)
        commanded.append(gripper)
    assert commanded == [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]


def test_a_camera_may_be_square_or_not() -> None:
    text = (ROOT / "config/sim/simpler_bridge.yaml").read_text()
    square, wide = (config.loads(text.replace("256 ", f"{size} "), SimConfig, "x") for size in ("128", "[640, 480]"))
    assert (square.camera_width_px, square.camera_height_px) == (128, 128)
    assert (wide.camera_width_px, wide.camera_height_px) == (640, 480)
