"""The gate in a simulator's time: one clock message, one answer."""

import pytest

from test.control.gate_fixtures import CONFIG, MS, PERIOD_NS, make_chunk
from vla_ros.control.gate_state import GateState, Inbox, Mode
from vla_ros.control.lockstep_gate import LockstepGate

START = 1000 * MS


@pytest.fixture
def gate() -> LockstepGate:
    gate = LockstepGate(CONFIG, GateState())
    gate.receive(Inbox(instruction="go", policy_instruction="go"))
    return gate


def test_a_gate_that_was_told_nothing_waits_and_then_answers_with_a_stop() -> None:
    gate = LockstepGate(CONFIG, GateState())
    assert gate.clock(START, steady_ns=0) is None
    answer = gate.poll(steady_ns=CONFIG.chunk_timeout_ns)
    assert answer is not None
    assert (answer.stamp_ns, answer.command.is_stop) == (START, True)


@pytest.mark.parametrize(("stamp_ns", "is_moving"), [(0, False), (1, True)])
def test_a_chunk_without_a_stamp_never_runs(gate: LockstepGate, stamp_ns: int, is_moving: bool) -> None:
    gate.receive(Inbox(chunks=(make_chunk(stamp_ns),)))
    gate.clock(stamp_ns, 0)
    answer = gate.poll(CONFIG.chunk_timeout_ns) or gate.clock(stamp_ns, 0)
    assert answer is not None
    assert answer.command.is_stop is not is_moving


def test_the_tick_waits_for_its_chunk_and_is_answered_as_soon_as_it_comes(gate: LockstepGate) -> None:
    assert gate.clock(START, steady_ns=0) is None
    assert gate.poll(steady_ns=CONFIG.chunk_timeout_ns - 1) is None
    answer = gate.receive(Inbox(chunks=(make_chunk(START),)))
    assert answer is not None
    assert answer.stamp_ns == START
    assert answer.command.delta[0] == pytest.approx(0.01)


def test_rows_in_hand_are_answered_without_a_wait(gate: LockstepGate) -> None:
    gate.clock(START, 0)
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    moved = [gate.clock(START + k * PERIOD_NS, 0) for k in range(1, 4)]
    assert [answer.command.delta[0] for answer in moved if answer] == pytest.approx([0.02, 0.03, 0.04])
    assert gate.clock(START + 4 * PERIOD_NS, 0) is None


def test_a_chunk_that_overtakes_its_clock_message_waits_for_it(gate: LockstepGate) -> None:
    assert gate.receive(Inbox(chunks=(make_chunk(START),))) is None
    answer = gate.clock(START, 0)
    assert answer is not None
    assert not answer.command.is_stop
    assert gate.state.counts == {}  # it was not shown to the gate before


def test_of_two_chunks_of_the_same_observation_that_overtake_their_clock_message_the_first_one_runs(
    gate: LockstepGate,
) -> None:
    gate.receive(Inbox(chunks=(make_chunk(START), make_chunk(START, x0_m=0.5))))
    answer = gate.clock(START, 0)
    assert answer is not None
    assert answer.command.delta[0] == pytest.approx(0.01)


def test_a_repeated_clock_message_gets_the_same_answer_and_executes_nothing(gate: LockstepGate) -> None:
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    first = gate.clock(START, 0)
    state = gate.state
    assert gate.clock(START, 1) is first
    assert gate.state is state


def test_a_repeated_clock_message_does_not_lengthen_the_wait(gate: LockstepGate) -> None:
    gate.clock(START, 0)
    gate.clock(START, CONFIG.chunk_timeout_ns - 1)
    assert gate.poll(CONFIG.chunk_timeout_ns) is not None


def test_when_no_chunk_comes_in_time_the_answer_is_a_stop_with_a_reason(gate: LockstepGate) -> None:
    gate.clock(START, 0)
    answer = gate.poll(CONFIG.chunk_timeout_ns)
    assert answer is not None
    assert (answer.stamp_ns, answer.command.is_stop) == (START, True)
    assert gate.state.text == "HOLD: no chunk for 0.30 s"


def test_after_a_hold_the_next_image_moves_again_but_the_late_chunk_does_not(gate: LockstepGate) -> None:
    gate.clock(START, 0)
    gate.poll(CONFIG.chunk_timeout_ns)
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    later = START + 10 * PERIOD_NS
    assert gate.clock(later, 0) is None
    answer = gate.receive(Inbox(chunks=(make_chunk(later),)))
    assert answer is not None
    assert not answer.command.is_stop


def test_a_refused_chunk_is_answered_at_once_with_the_reason(gate: LockstepGate) -> None:
    gate.clock(START, 0)
    answer = gate.receive(Inbox(chunks=(make_chunk(START, frame_id="world"),)))
    assert answer is not None
    assert answer.command.is_stop
    assert "expected 'base', got 'world'" in gate.state.text


@pytest.mark.parametrize("inbox", [Inbox(instruction=""), Inbox(emergency_stop=True)])
def test_a_stop_does_not_wait_for_a_chunk(gate: LockstepGate, inbox: Inbox) -> None:
    gate.receive(inbox)
    answer = gate.clock(START, 0)
    assert answer is not None
    assert answer.command.is_stop
    assert gate.state.mode in (Mode.HOLD, Mode.FAULT)


def test_an_early_chunk_of_the_former_instruction_never_runs(gate: LockstepGate) -> None:
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    gate.receive(Inbox(instruction="something else"))
    assert gate.clock(START, 0) is None


def test_chunks_of_the_last_episode_have_expired_in_the_next(gate: LockstepGate) -> None:
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    gate.clock(START, 0)
    assert gate.clock(START + 1_000 * MS, 0) is None


def test_after_a_reset_of_the_simulator_only_chunks_of_its_new_time_run(gate: LockstepGate) -> None:
    gate.receive(Inbox(chunks=(make_chunk(START + 5000 * MS),)))
    gate.clock(START + 5000 * MS, 0)
    gate.receive(Inbox(chunks=(make_chunk(START + 6000 * MS),)))  # still ahead when the simulator is reset
    assert gate.clock(START, 0) is None
    answer = gate.receive(Inbox(chunks=(make_chunk(START),)))
    assert answer is not None
    assert answer.command.delta[0] == pytest.approx(0.01)
    assert gate.clock(START + 6000 * MS, 0) is None


def test_a_reset_while_a_tick_of_the_last_reset_waits_is_one_more(gate: LockstepGate) -> None:
    gate.receive(Inbox(chunks=(make_chunk(START + 5000 * MS),)))
    gate.clock(START + 5000 * MS, 0)
    gate.clock(START, 0)
    gate.clock(START + PERIOD_NS, 0)
    epoch = gate.state.epoch
    assert gate.clock(START, 0) is None
    assert gate.state.epoch == epoch + 1


@pytest.mark.parametrize("stop", [Inbox(emergency_stop=True), Inbox(instruction="something else")])
def test_a_motion_that_was_answered_is_not_sent_again_after_a_stop(gate: LockstepGate, stop: Inbox) -> None:
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    moved = gate.clock(START, 0)
    assert moved is not None
    assert not moved.command.is_stop
    gate.receive(stop)
    again = gate.clock(START, 0)
    assert again is not None
    assert again.stamp_ns == START
    assert again.command.is_stop
    assert again.command.gripper == moved.command.gripper


def test_a_tick_that_awaits_a_chunk_is_not_answered_with_the_rows_in_hand(gate: LockstepGate) -> None:
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    gate.clock(START, 0)
    later = START + PERIOD_NS
    assert gate.clock(later, 0, awaited_ns=later) is None
    answer = gate.receive(Inbox(chunks=(make_chunk(later),)))
    assert answer is not None
    assert answer.command.delta[0] == pytest.approx(0.01)  # the new chunk's first row, not the old one's second


def test_a_tick_that_awaits_nothing_is_answered_at_once_with_what_there_is(gate: LockstepGate) -> None:
    empty = gate.clock(START, 0, awaited_ns=0)
    assert empty is not None
    assert empty.command.is_stop
    assert gate.state.mode is Mode.ARMED  # there is nothing to hold for yet
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    moved = gate.clock(START + PERIOD_NS, 0, awaited_ns=0)
    assert moved is not None
    assert not moved.command.is_stop


def test_an_awaited_chunk_that_is_already_here_is_not_waited_for(gate: LockstepGate) -> None:
    gate.clock(START, 0, awaited_ns=0)
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    assert gate.clock(START + PERIOD_NS, 0, awaited_ns=START) is not None


def test_an_awaited_chunk_that_is_too_old_to_run_answers_its_tick_all_the_same(gate: LockstepGate) -> None:
    late = START + 100 * PERIOD_NS
    gate.clock(START, 0, awaited_ns=0)
    assert gate.clock(late, 0, awaited_ns=START) is None
    answer = gate.receive(Inbox(chunks=(make_chunk(START),)))
    assert answer is not None
    assert answer.command.is_stop


def test_an_awaited_chunk_that_never_comes_is_a_hold_although_rows_are_due(gate: LockstepGate) -> None:
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    gate.clock(START, 0)
    assert gate.clock(START + PERIOD_NS, 0, awaited_ns=START + PERIOD_NS) is None
    answer = gate.poll(CONFIG.chunk_timeout_ns)
    assert answer is not None
    assert answer.command.is_stop
    assert gate.state.mode is Mode.HOLD


def test_after_a_reset_of_the_simulator_the_gripper_is_left_alone_until_a_chunk_comes(gate: LockstepGate) -> None:
    gate.receive(Inbox(chunks=(make_chunk(START),)))
    moved = gate.clock(START, 0)
    assert moved is not None
    assert moved.command.gripper is not None
    reset = gate.clock(1, 0, awaited_ns=0)
    assert reset is not None
    assert (reset.command.is_stop, reset.command.gripper) == (True, None)
    assert gate.state.mode is Mode.ARMED
