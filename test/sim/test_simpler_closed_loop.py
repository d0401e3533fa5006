"""SimplerEnv over real ROS 2 topics: policy_node, the gate with its shipped parameters, and the real simulator."""

import time
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from test.node.fleet import LIMIT_S, POLICY, Fleet
from test.sim.simpler_assets import NEEDS_SIMPLER
from test.sim.stacking_script import ROWS_PER_CHUNK, rows
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.parameters import read_parameter_file
from vla_ros.sim.episode import EpisodeResult, read_results

pytestmark = NEEDS_SIMPLER

ROOT = Path(__file__).resolve().parents[2]
STACK = 2
LIMIT_STEPS = 60


def test_a_script_stacks_the_cubes_over_ros(fleet: Fleet) -> None:
    """Long before the limit; the benchmark counts what is so at the limit, and there the cube still stands."""
    gate = read_parameter_file(ROOT / "config/robot/simpler_bridge.yaml", "command_gate", GateParameters)
    fleet.start_node("command_gate", {**asdict(gate), "autostart": True})
    fleet.start_node("policy_node", POLICY, program="test.sim.scripted_policy")
    (fleet.folder / "sim.yaml").write_text(
        (ROOT / "config/sim/simpler_bridge.yaml")
        .read_text()
        .replace("tasks: [0, 1, 2, 3]", f"tasks: [{STACK}]")
        .replace("config/robot/simpler_bridge.yaml", "command_gate.yaml")
        .replace("video_every_n_steps: 1", "video_every_n_steps: 0")
    )
    fleet.start(
        "sim_bridge",
        *("--config", "sim.yaml", "--output", "run", "--episodes", "1"),
        program="vla_ros.sim.bridge_node",
    )
    (result,) = wait_for_results(fleet)
    assert fleet.wait("sim_bridge") == 0
    assert result.outcome == "success"
    assert result.instruction == "stack the green block on the yellow block"
    assert result.steps == LIMIT_STEPS > len(rows())
    assert len(result.reaction_ms) == -(-result.steps // ROWS_PER_CHUNK)  # an image a chunk, and no more
    assert result.clamped_steps == 0


def wait_for_results(fleet: Fleet) -> list[EpisodeResult]:
    """The episodes, once there is one; a busy machine needs a while for ManiSkill's import and first picture alone."""
    deadline = time.monotonic() + 4 * LIMIT_S
    path = fleet.folder / "run/episodes.jsonl"
    while fleet.is_alive("sim_bridge") and not list(read_results(path)):
        assert time.monotonic() < deadline, "the episode did not end"
        time.sleep(0.2)
    return list(read_results(path))
