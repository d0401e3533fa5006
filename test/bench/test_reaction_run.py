"""Real nodes over real Fast DDS for some seconds: what the traces say is whole, and agrees with the commands."""

from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped

from vla_ros.bench import reaction_nodes, reaction_run
from vla_ros.bench.reaction import Case, Load, Measured, measure
from vla_ros.bench.reaction_nodes import make_contract
from vla_ros.bench.reaction_operator import Operator
from vla_ros.bench.reaction_policy import speed_m_s
from vla_ros.bench.reaction_receiver import EVERY_COMMAND
from vla_ros.bench.reaction_stages import CHAIN, Marks, read_traces
from vla_ros.node.messages import ns_from_stamp

FRAMES = 60
STOPS = 3


class Witness:
    """What a run looks like from outside: its marks, and every command's speed by the command's stamp."""

    def __init__(self) -> None:
        self.marks: Marks = {}
        self.speeds: dict[int, float] = {}

    def hear(self, message: TwistStamped) -> None:
        self.speeds[ns_from_stamp(message.header.stamp)] = message.twist.linear.x


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Witness:
    witness = Witness()

    class Listening(Operator):
        def __enter__(self) -> Operator:
            super().__enter__()
            self._node.create_subscription(TwistStamped, "delta_twist_cmds", witness.hear, EVERY_COMMAND)
            return self

    def read(paths: Any) -> Marks:
        witness.marks = read_traces(paths)
        return witness.marks

    monkeypatch.setattr(reaction_run, "Operator", Listening)
    monkeypatch.setattr(reaction_run, "read_traces", read)
    return witness


def run(load: Load = "idle", frames: int = FRAMES) -> Measured:
    (result,) = measure([Case(contract=make_contract(64, 48), load=load, frames=frames, stops=STOPS)])
    return result


def check(result: Measured, frames: int) -> None:
    """What holds however busy the machine is."""
    found = result.reactions
    assert found.frames == frames
    assert len(found.total_ms) + found.lost_frames == frames
    assert len(found.total_ms) > 0
    assert (found.stages_ms >= 0).all()
    np.testing.assert_allclose(found.stages_ms.sum(axis=1), found.total_ms)
    assert len(result.stops.delays_ms) + result.stops.missed == STOPS
    assert len(result.ticks.lateness_ms) > 0
    assert result.is_whole


def test_every_image_is_followed_and_its_first_command_is_its_own(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy's speed tells the image's stamp. Each chunk starts anew, so that no two mix in a command."""
    monkeypatch.setitem(reaction_nodes.GATE, "late_steps", "restart")
    monkeypatch.setitem(reaction_nodes.GATE, "max_linear_acceleration_m_s2", 1000.0)
    check(run(), FRAMES)
    admitted = {stamp for stamp, _ in witness.marks["admitted"]}
    assert admitted <= {stamp for stamp, _ in witness.marks["shown"]}
    times = {stage: dict(witness.marks[stage]) for stage in CHAIN if stage != "received"}
    for stamp, tick in witness.marks["tick"]:
        passed = [times[stage][stamp] for stage in times]
        assert passed == sorted(passed)
        if tick in witness.speeds:  # not before this witness was there
            assert witness.speeds[tick] == pytest.approx(speed_m_s(stamp), rel=1e-4)
    heard = [tick for _, tick in witness.marks["tick"] if tick in witness.speeds]
    assert len(heard) >= FRAMES // 2
    firsts = [stamp for stamp, _ in witness.marks["tick"]]
    assert firsts == sorted(set(firsts))


@pytest.mark.parametrize("load", ["neighbour", "policy"])
def test_a_busy_machine_is_measured_alike(load: Load) -> None:
    check(run(load, frames=20), 20)


def test_an_interruption_leaves_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(Operator):
        def run(self, *arguments: Any) -> None:
            asked.append(self.gate_state)
            if len(asked) > 4:  # a second after the first image that is followed
                raise KeyboardInterrupt
            super().run(*arguments)

    asked: list[str] = []

    monkeypatch.setattr(reaction_run, "Operator", Impatient)
    monkeypatch.setattr(reaction_run, "SETTLE_S", 0.1)
    result = run(frames=10_000)
    assert not result.is_whole
    assert 0 < result.reactions.frames < 10_000
    assert result.stops.missed == 0


def test_an_interruption_before_the_first_image_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Operator, *_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Operator, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run()


def test_a_process_that_dies_is_named_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from vla_ros.errors import EngineError

    monkeypatch.setitem(reaction_nodes.GATE, "command_rate_hz", 99.0)
    with pytest.raises(
        EngineError, match=r"command_gate: expected it to run, got its end, exit code 2: .*command_rate"
    ):
        run()
