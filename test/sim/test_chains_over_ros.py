"""A chain of instructions over real topics: each one's images and chunks are its own, and nothing else is executed."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("rclpy")

from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from test.node.fleet import GATE, POLICY, Fleet, Probe
from test.node.stub_policy import StubPolicy
from test.sim.fake_simulator import PARTS, FakeSimulator
from vla_ros.action import Command
from vla_ros.node.messages import command_from_messages, joint_state_from_command, twist_from_command
from vla_ros.observation import Observation
from vla_ros.sim.episode import EpisodeResult, read_results
from vla_ros.sim.lockstep import EpisodeRunner, Reply, SimClock

EVERY_WORD = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
HORIZON = int(GATE["execution_horizon"])  # type: ignore[call-overload]
RATE_HZ = float(GATE["control_rate_hz"])  # type: ignore[arg-type]


class PolicyAlone:
    """The way to the stub policy without nodes: the rows of the last image's chunk, as messages would bring them."""

    def __init__(self) -> None:
        self._policy = StubPolicy()
        self._instruction = ""
        self._rows: list[NDArray[np.float32]] = []

    def instruct(self, text: str) -> str:
        self._instruction, self._rows = text, []
        return ""

    def restart(self) -> None:
        self._rows = []

    def ask(self, stamp_ns: int, image: NDArray[np.uint8] | None) -> Reply:
        if image is not None:
            observation = Observation(image=image, instruction=self._instruction, stamp_ns=stamp_ns)
            self._rows = list(self._policy.predict(observation).actions)
        row = self._rows.pop(0)
        sent = Command(delta=row[:6].astype(np.float64), gripper=float(row[6]))
        twist = twist_from_command(sent, stamp_ns, "base", RATE_HZ)
        command = command_from_messages(twist, joint_state_from_command(sent, stamp_ns), RATE_HZ)
        return Reply(command=command, gate_state="RUN", problem="", reaction_ms=1.0)


def expected() -> EpisodeResult:
    simulator = FakeSimulator(parts=PARTS)
    runner = EpisodeRunner(
        simulator=simulator,
        link=PolicyAlone(),
        clock=SimClock(0),
        observe_every_n_steps=HORIZON,
        video_every_n_steps=0,
        on_step=lambda step, state: None,
    )
    return runner.run(simulator.tasks()[0], 0, 0, None, "")


def test_a_chain_executes_what_the_policy_alone_would(fleet: Fleet, probe: Probe) -> None:
    states = probe.listen("command_gate/state", String, EVERY_WORD)
    fleet.start_node("command_gate", GATE)
    fleet.start_node("policy_node", POLICY)
    probe.until(lambda: states, "the gate's first word")
    output = fleet.start_bridge(suite="chain_base", tasks=[0], episodes_per_task=1)
    probe.until(lambda: not fleet.is_alive("sim_bridge"), "the end of the chain")
    assert fleet.wait("sim_bridge") == 0
    (result,) = read_results(output / "episodes.jsonl")
    wanted = expected()
    assert (result.outcome, result.completed_subtasks) == ("success", PARTS)
    assert result.subtasks == wanted.subtasks
    # a chunk is not used up where a subtask ends: its rest must never run
    assert all(subtask.steps % HORIZON for subtask in result.subtasks)
    assert result.actions_sha256 == wanted.actions_sha256
    words = [message.data.split(":")[0] for message in states]
    assert [word for word, _ in itertools.groupby(words) if word in ("ARMED", "RUN")] == ["ARMED", "RUN"] * PARTS
    assert not {"HOLD", "FAULT"} & set(words)
