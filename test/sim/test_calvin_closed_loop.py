"""CALVIN over real ROS 2 topics: policy_node, the gate with its shipped parameters, and the real simulator."""

import itertools
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from test.node.fleet import POLICY, Fleet, Probe
from test.sim.calvin_checkout_needed import NEEDS_CALVIN
from test.sim.calvin_policy import CHUNK_SIZE
from test.sim.calvin_script import POINTS
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.parameters import read_parameter_file
from vla_ros.sim.episode import EpisodeResult, read_results

pytestmark = NEEDS_CALVIN

ROOT = Path(__file__).resolve().parents[2]
CHAIN = 54
INSTRUCTIONS = (
    "press the button to turn off the led light",
    "push the handle to close the drawer",
    "push the sliding door to the left side",
    "go push the pink block right",
)
"""The first four of that chain; the script knows the first three."""


def start_nodes(fleet: Fleet) -> None:
    gate = read_parameter_file(ROOT / "config/robot/calvin.yaml", "command_gate", GateParameters)
    fleet.start_node("command_gate", {**asdict(gate), "autostart": True})
    fleet.start_node("policy_node", POLICY, program="test.sim.calvin_policy")


def start_bridge(fleet: Fleet, output: str) -> None:
    """One chain, drawn without OpenGL, as pixels are not what this is about."""
    text = (ROOT / "config/sim/calvin_abc_d.yaml").read_text()
    for before, after in (
        ("suite: scene_d ", "suite: scene_d_tiny_renderer "),
        ("first_initial_state: 0", f"first_initial_state: {CHAIN}"),
        ("config/robot/calvin.yaml", "command_gate.yaml"),
    ):
        assert text.count(before) == 1
        text = text.replace(before, after)
    (fleet.folder / "sim.yaml").write_text(text)
    fleet.start(
        "sim_bridge",
        *("--config", "sim.yaml", "--output", output, "--episodes", "1"),
        program="vla_ros.sim.bridge_node",
    )


def end(fleet: Fleet, output: str) -> EpisodeResult:
    assert fleet.wait("sim_bridge") == 0
    (result,) = read_results(fleet.folder / output / "episodes.jsonl")
    assert [fleet.interrupt(name) for name in ("policy_node", "command_gate")] == [0, 0]
    return result


def test_a_script_does_three_of_a_chain_and_the_chain_ends_at_the_fourth(fleet: Fleet, probe: Probe) -> None:
    every_word = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    states = probe.listen("command_gate/state", String, every_word)
    agreed = probe.listen("command_gate/instruction", String, every_word)
    start_nodes(fleet)
    probe.until(lambda: states and agreed, "the gate's first words")
    start_bridge(fleet, "run")

    def is_over() -> bool:
        return not fleet.is_alive("sim_bridge")

    for text in INSTRUCTIONS:
        probe.until(lambda text=text: is_over() or text in [message.data for message in agreed], text)
    probe.until(is_over, "the end of the chain")
    result = end(fleet, "run")

    assert result.outcome == "timeout"
    assert result.completed_subtasks == 3
    assert [subtask.outcome for subtask in result.subtasks] == ["success"] * 3 + ["timeout", "not_reached"]
    assert tuple(subtask.instruction for subtask in result.subtasks[:4]) == INSTRUCTIONS
    assert set(INSTRUCTIONS[:3]) < set(POINTS)
    assert INSTRUCTIONS[3] not in POINTS
    assert result.subtasks[3].steps == 360
    assert result.steps == sum(subtask.steps for subtask in result.subtasks)
    # an image a chunk, anew for each instruction, and no more
    assert len(result.reaction_ms) == sum(-(-subtask.steps // CHUNK_SIZE) for subtask in result.subtasks)
    assert result.clamped_steps == 0
    assert [text for text, _ in itertools.groupby(message.data for message in agreed) if text] == list(INSTRUCTIONS)
    # each new instruction stops the gate before anything of it moves
    words = [message.data.split(":")[0] for message in states]
    assert [word for word, _ in itertools.groupby(words) if word in ("ARMED", "RUN")] == ["ARMED", "RUN"] * 4
    assert not {"HOLD", "FAULT"} & set(words)


def test_two_runs_execute_identical_actions(fleet: Fleet) -> None:
    results = []
    for output in ("first", "second"):
        start_nodes(fleet)
        start_bridge(fleet, output)
        results.append(end(fleet, output))
    first, second = results
    assert first.actions_sha256 == second.actions_sha256
    assert first.subtasks == second.subtasks
