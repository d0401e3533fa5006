"""The gate's state machine: what moves, what stops it, and what it takes to move again."""

import dataclasses

import numpy as np
import pytest

from test.control.gate_fixtures import CONFIG, MS, PERIOD_NS, make_chunk, make_motion, make_running
from vla_ros.action import ActionChunk
from vla_ros.control.chunk_scheduler import LateSteps
from vla_ros.control.gate_config import GateConfig
from vla_ros.control.gate_state import GateState, Inbox, Mode
from vla_ros.control.safety_gate import advance, has_due_row, receive, restarted, step

START = 1000 * MS


def test_a_chunk_runs_row_by_row() -> None:
    state, _ = step(CONFIG, GateState(), START - 1, Inbox(instruction="go", policy_instruction="go"))
    inbox, moved, grippers = Inbox(chunks=(make_chunk(START),)), [], []
    for k in range(4):
        state, command = step(CONFIG, state, START + k * PERIOD_NS, inbox)
        inbox = Inbox()
        moved.append(command.delta[0])
        grippers.append(command.gripper)
        assert state.mode is Mode.RUN
    np.testing.assert_allclose(moved, [0.01, 0.02, 0.03, 0.04], rtol=1e-6)
    assert grippers == [1.0, 0.0, 1.0, 0.0]


def test_without_an_instruction_nothing_moves() -> None:
    state, command = step(CONFIG, GateState(), START, Inbox(chunks=(make_chunk(START),)))
    assert command.is_stop
    assert state.text == "ARMED: waiting for an instruction"
    assert state.counts == {"dropped: no instruction": 1}


def test_a_used_up_chunk_is_never_repeated_and_becomes_a_hold_after_the_timeout() -> None:
    state = make_running(START)
    seen = []
    for k in range(1, 9):
        state, command = step(CONFIG, state, START + k * PERIOD_NS, Inbox())
        seen.append((state.mode, command.is_stop))
    # rows 1-3, then stops; the last row ran at 3, so the time since it exceeds 3 periods at 7
    assert seen == [(Mode.RUN, False)] * 3 + [(Mode.RUN, True)] * 3 + [(Mode.HOLD, True)] * 2
    assert "no chunk for 0.40 s" in state.reason
    assert command.gripper == 0.0  # row 3's: a stop never opens the gripper


def test_leaving_hold_needs_an_observation_newer_than_the_hold() -> None:
    state = make_running(START)
    hold_ns = START + 10 * PERIOD_NS
    state, _ = step(CONFIG, state, hold_ns, Inbox())
    assert state.mode is Mode.HOLD
    state, command = step(CONFIG, state, hold_ns + PERIOD_NS, Inbox(chunks=(make_chunk(hold_ns - 1),)))
    assert state.mode is Mode.HOLD
    assert command.is_stop
    assert state.counts == {"dropped: older than the last stop": 1}
    now_ns = hold_ns + 2 * PERIOD_NS
    state, command = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    assert (state.text, state.reason) == ("RUN", "")
    assert not command.is_stop


@pytest.mark.parametrize("executed_rows", range(1, 5))
def test_a_new_instruction_stops_within_one_tick_at_every_row_and_the_old_chunk_never_runs(executed_rows: int) -> None:
    state, now_ns = make_running(START), START
    for _ in range(1, executed_rows):
        now_ns += PERIOD_NS
        state, _ = step(CONFIG, state, now_ns, Inbox())
    epoch = state.epoch
    inbox = Inbox(instruction="something else")
    for _ in range(8):
        now_ns += PERIOD_NS
        state, command = step(CONFIG, state, now_ns, inbox)
        inbox = Inbox(chunks=(make_chunk(START + 1),))  # late, from before the change
        assert command.is_stop
    assert state.epoch == epoch + 1


def test_the_same_instruction_again_changes_nothing() -> None:
    state = make_running(START)
    after, command = step(CONFIG, state, START + PERIOD_NS, Inbox(instruction="go"))
    assert after.epoch == state.epoch
    assert not command.is_stop


@pytest.mark.parametrize("text", ["", "  ", "a" * 1025, "go\x00", "go \ufffd", "go\n"])
def test_an_instruction_that_is_refused_holds_the_arm_and_says_why(text: str) -> None:
    state, command = step(CONFIG, make_running(START), START + PERIOD_NS, Inbox(instruction=text))
    assert command.is_stop
    assert state.mode is Mode.HOLD
    assert "instruction: text: expected" in state.reason


def test_an_emergency_stop_is_latched_until_it_is_released_and_reset() -> None:
    state, now_ns = make_running(START), START + PERIOD_NS
    state, command = step(CONFIG, state, now_ns, Inbox(emergency_stop=True))
    assert (state.text, command.is_stop) == ("FAULT: emergency stop; release it, then call ~/reset", True)
    for inbox in (Inbox(reset=True), Inbox(emergency_stop=False), Inbox(instruction="other"), Inbox(timed_out=True)):
        now_ns += PERIOD_NS
        state, command = step(CONFIG, state, now_ns, dataclasses.replace(inbox, chunks=(make_chunk(now_ns),)))
        assert (state.mode, command.is_stop) == (Mode.FAULT, True)
    assert state.counts == {"dropped: in FAULT": 4}
    now_ns, epoch = now_ns + PERIOD_NS, state.epoch
    state, command = step(CONFIG, state, now_ns, Inbox(reset=True))
    assert (state.text, command.is_stop) == ("ARMED: reset by the operator, waiting for an instruction", True)
    assert state.epoch == epoch + 1
    state, _ = step(CONFIG, state, now_ns, Inbox(instruction="other", policy_instruction="other"))
    now_ns += PERIOD_NS
    state, command = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    assert (state.mode, command.is_stop) == (Mode.RUN, False)


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (make_chunk(START + PERIOD_NS, frame_id="world"), "frame_id: expected 'base', got 'world'"),
        (dataclasses.replace(make_chunk(START + PERIOD_NS), period_ns=50 * MS), "expected steps of 0.1 s, got 0.05 s"),
        (make_chunk(START + PERIOD_NS + 51 * MS), "expected <= 0.05 s ahead, got 0.051 s"),
        (make_chunk(2**62), "expected <= 0.05 s ahead, got 4611686017.327 s"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused_whole_and_the_former_one_runs_on(chunk: ActionChunk, reason: str) -> None:
    state, command = step(CONFIG, make_running(START), START + PERIOD_NS, Inbox(chunks=(chunk,)))
    assert reason in state.last_refusal
    assert state.counts == {"refused": 1}
    assert command.delta[0] == pytest.approx(0.02)


def test_a_chunk_that_could_not_be_read_is_counted_with_its_reason_until_one_is_admitted() -> None:
    inbox = Inbox(refused=("chunk: points: expected 7 positions, got 3",))
    state, command = step(CONFIG, make_running(START), START + PERIOD_NS, inbox)
    assert command.delta[0] == pytest.approx(0.02)
    assert state.last_refusal == "chunk: points: expected 7 positions, got 3"
    assert state.counts == {"refused": 1}
    starved, _ = step(CONFIG, state, START + 5 * PERIOD_NS, Inbox())
    assert starved.text == "HOLD: no chunk for 0.40 s; last refusal: chunk: points: expected 7 positions, got 3"
    now_ns = START + 2 * PERIOD_NS
    state, _ = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    assert state.last_refusal == ""
    starved, _ = step(CONFIG, state, now_ns + 4 * PERIOD_NS, Inbox())
    assert starved.text == "HOLD: no chunk for 0.40 s"


def test_a_chunk_exactly_as_far_ahead_as_clocks_may_be_is_admitted() -> None:
    state, _ = step(CONFIG, make_running(START), START, Inbox(chunks=(make_chunk(START + 50 * MS),)))
    assert state.schedule.chunk is not None
    assert state.schedule.chunk.stamp_ns == START + 50 * MS


def test_a_chunk_out_of_order_or_given_twice_moves_nothing_twice() -> None:
    state = make_running(START)
    again = Inbox(chunks=(make_chunk(START), make_chunk(START - 1)))
    state, command = step(CONFIG, state, START, again)
    assert command.is_stop
    state, command = step(CONFIG, state, START + PERIOD_NS, again)
    assert command.delta[0] == pytest.approx(0.02)
    assert state.counts == {"dropped: out of order": 4}


def test_the_newest_chunk_replaces_the_one_in_execution() -> None:
    state, now_ns = make_running(START), START + PERIOD_NS
    _, command = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns, x0_m=0.5),)))
    assert command.delta[0] == pytest.approx(0.5)


def test_a_clock_that_goes_back_is_a_hold() -> None:
    state, command = step(CONFIG, make_running(START), START - 3600 * 10**9, Inbox())
    assert (state.mode, command.is_stop) == (Mode.HOLD, True)
    assert state.reason == "the clock went back by 3600.000 s"


def test_a_clock_set_to_another_century_says_by_how_much() -> None:
    century_ns = 3_155_760_000 * 10**9
    state, _ = step(CONFIG, make_running(century_ns + START), START, Inbox())
    assert state.reason == "the clock went back by 3155760000.000 s"
    state, _ = step(CONFIG, make_running(START), century_ns + START, Inbox())
    assert state.reason == "no chunk for 3155760000.00 s"


def test_a_clock_goes_back_once_however_many_messages_come_before_the_next_tick() -> None:
    state, now_ns = make_running(START), START - 3600 * 10**9
    state = receive(CONFIG, state, now_ns, Inbox())
    assert receive(CONFIG, state, now_ns + MS, Inbox()).epoch == state.epoch


def test_holds_from_before_a_clock_went_back_count_no_more() -> None:
    config = dataclasses.replace(CONFIG, hold=dataclasses.replace(CONFIG.hold, max_per_minute=1))
    now_ns = START + 10 * PERIOD_NS
    state, _ = step(config, make_running(START), now_ns, Inbox())
    now_ns += PERIOD_NS
    state, _ = step(config, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    assert state.mode is Mode.RUN
    state, _ = step(config, state, now_ns - 3600 * 10**9, Inbox())
    assert state.mode is Mode.HOLD


def test_a_frozen_clock_repeats_nothing() -> None:
    _, command = step(CONFIG, make_running(START), START, Inbox())
    assert command.is_stop


def test_a_command_beyond_the_speed_limit_is_shortened_and_counted() -> None:
    limits = make_motion(linear=0.05)
    config = dataclasses.replace(CONFIG, chunk_timeout_ns=1, motion=limits)
    state, command = step(config, make_running(START), START + PERIOD_NS, Inbox())
    assert command.delta[0] == pytest.approx(0.005, rel=1e-12)
    assert state.counts == {"clamped": 1}


def test_in_fault_nothing_moves_whatever_is_scheduled() -> None:
    """No message leads here; it is held twice."""
    state = dataclasses.replace(make_running(START), mode=Mode.FAULT)
    _, command = advance(CONFIG, state, START + PERIOD_NS)
    assert command.is_stop
    assert not has_due_row(CONFIG, state, START + PERIOD_NS)


def test_after_a_reset_only_a_new_instruction_lets_the_arm_move() -> None:
    state, now_ns = make_running(START), START + PERIOD_NS
    for inbox in (Inbox(emergency_stop=True), Inbox(emergency_stop=False), Inbox(reset=True)):
        state, _ = step(CONFIG, state, now_ns, inbox)
    assert state.mode is Mode.ARMED
    for _ in range(5):
        now_ns += PERIOD_NS
        state, command = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
        assert command.is_stop
    state, _ = step(CONFIG, state, now_ns, Inbox(instruction="go"))
    now_ns += PERIOD_NS
    state, command = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    assert not command.is_stop


def test_a_chunk_made_for_another_instruction_never_runs() -> None:
    state, now_ns = make_running(START), START + PERIOD_NS
    state, _ = step(CONFIG, state, now_ns, Inbox(instruction="something else"))
    for _ in range(5):  # the policy has not heard of it yet, and its images are new
        now_ns += PERIOD_NS
        state, command = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
        assert command.is_stop
    assert state.counts == {"dropped: policy_node has another instruction": 5}
    late = make_chunk(now_ns)  # still on its way when the policy says that it has the new one
    now_ns += PERIOD_NS
    state, command = step(CONFIG, state, now_ns, Inbox(policy_instruction="something else", chunks=(late,)))
    assert command.is_stop
    now_ns += PERIOD_NS
    state, command = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    assert not command.is_stop


def test_a_chunk_with_another_rotation_is_refused() -> None:
    state, _ = step(CONFIG, make_running(START), START, Inbox(chunks=(make_chunk(START + 1, rotation="euler_xyz"),)))
    assert state.last_refusal == "chunk: rotation: expected 'axis_angle', got 'euler_xyz'"


def test_a_fault_from_outside_is_latched_with_its_reason() -> None:
    state, command = step(CONFIG, make_running(START), START + PERIOD_NS, Inbox(fault="two publishers"))
    assert (state.mode, state.reason, command.is_stop) == (
        Mode.FAULT,
        "two publishers; mend it, then call ~/reset",
        True,
    )


@pytest.mark.parametrize("late_steps", ["ledger", "skip"])
@pytest.mark.parametrize("phase_ms", [0, 25, 50, 75])
def test_a_jittering_timer_neither_stops_nor_repeats(phase_ms: int, late_steps: LateSteps) -> None:
    """Ticks up to 10 % off their period, in any phase to the images' stamps, 1 cm a row, a new chunk every two rows."""
    random = np.random.default_rng(0)
    config = dataclasses.replace(CONFIG, late_steps=late_steps)
    state, _ = step(config, GateState(), START - 1, Inbox(instruction="go", policy_instruction="go"))
    moved = []
    for tick in range(200):
        jitter_ns = int(random.uniform(-0.1, 0.1) * PERIOD_NS)
        now_ns = START + tick * PERIOD_NS + phase_ms * MS + max(jitter_ns, -phase_ms * MS)
        chunk = make_chunk(START + tick * PERIOD_NS, slope_m=0.0)
        state, command = step(config, state, now_ns, Inbox(chunks=(chunk,) if tick % 2 == 0 else ()))
        moved.append(command.delta[0] * 100)
    assert min(moved[1:]) > 0.7
    assert max(moved[1:]) < 1.3
    if late_steps == "ledger":  # which knows where the arm was at a stamp no better than the ticks' jitter
        assert sum(moved) == pytest.approx(200, rel=0.01)


def moving_slowly(config: GateConfig) -> GateState:
    """A gate that moved half a centimetre at each tick, up to one period after START."""
    state, _ = step(config, GateState(), START - 2 * PERIOD_NS, Inbox(instruction="go", policy_instruction="go"))
    former = make_chunk(START - PERIOD_NS, x0_m=0.005, slope_m=0.0)
    for tick in range(-1, 2):
        state, _ = step(config, state, START + tick * PERIOD_NS, Inbox(chunks=(former,)))
    return state


@pytest.mark.parametrize(("late_steps", "moved_cm"), [("ledger", [5, 4]), ("skip", [3, 4]), ("restart", [1, 2])])
def test_late_steps_are_made_up_for_skipped_or_played_late_as_configured(
    late_steps: LateSteps, moved_cm: list[float]
) -> None:
    """A chunk of START is two ticks on its way."""
    config = dataclasses.replace(CONFIG, late_steps=late_steps)
    state = moving_slowly(config)
    inbox, moved = Inbox(chunks=(make_chunk(START),)), []
    for tick in (2, 3):
        state, command = step(config, state, START + tick * PERIOD_NS, inbox)
        inbox = Inbox()
        moved.append(command.delta[0] * 100)
    assert moved == pytest.approx(moved_cm, abs=1e-5)


def test_what_is_owed_is_made_up_for_at_the_speed_limit_and_no_faster() -> None:
    """At most 4.5 cm a tick: 9 cm in two ticks, of which the first may not make all it owes."""
    limits = make_motion(linear=0.45)
    config = dataclasses.replace(CONFIG, motion=limits)
    state = moving_slowly(config)
    inbox, moved = Inbox(chunks=(make_chunk(START),)), []
    for tick in (2, 3, 4):
        state, command = step(config, state, START + tick * PERIOD_NS, inbox)
        inbox = Inbox()
        moved.append(round(command.delta[0] * 100, 5))
    assert moved == [4.5, 4.5, 0]
    assert state.counts["clamped"] == 1


@pytest.mark.parametrize("arrival_ms", [0, 1, 50, 99])
def test_a_chunk_that_comes_between_two_ticks_begins_at_its_own_speed(arrival_ms: int) -> None:
    """The arm stood still: row 0 runs whole, at the first tick."""
    for late_steps in ("ledger", "restart"):
        config = dataclasses.replace(CONFIG, late_steps=late_steps)
        state, _ = step(config, GateState(), START - 1, Inbox(instruction="go", policy_instruction="go"))
        state = receive(config, state, START + 100 * MS + arrival_ms * MS, Inbox(chunks=(make_chunk(START),)))
        state, command = step(config, state, START + 200 * MS, Inbox())
        assert command.delta[0] * 100 == pytest.approx(1)


def test_a_stop_ends_what_was_owed() -> None:
    """Chunks of 1 to 4 cm a row at 0.5 cm a tick owe 2.5 cm after two ticks; the next one after a stop owes nothing."""
    limits = make_motion(linear=0.05)
    config = dataclasses.replace(CONFIG, motion=limits)
    state, _ = step(config, GateState(), START - 1, Inbox(instruction="go", policy_instruction="go"))
    for tick in range(2):
        state, _ = step(config, state, START + tick * PERIOD_NS, Inbox(chunks=(make_chunk(START),)))
    assert state.schedule.owed[0] * 100 == pytest.approx(2)
    now_ns = START + 2 * PERIOD_NS
    state, _ = step(config, state, now_ns, Inbox(instruction="other", policy_instruction="other"))
    config = dataclasses.replace(config, motion=CONFIG.motion)
    now_ns += PERIOD_NS
    _, command = step(config, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    assert command.delta[0] * 100 == pytest.approx(1)


def test_at_a_chunks_end_no_more_is_made_up_for_than_its_time_allows() -> None:
    """A quarter of a period is left: a quarter of the speed limit's displacement, however much is owed."""
    limits = make_motion(linear=0.2)
    config = dataclasses.replace(CONFIG, motion=limits)
    state, _ = step(config, GateState(), START - 1, Inbox(instruction="go", policy_instruction="go"))
    moved, inbox = [], Inbox(chunks=(make_chunk(START, x0_m=0.1),))
    for tick_ms in (0, 100, 200, 300, 375, 400):
        state, command = step(config, state, START + tick_ms * MS, inbox)
        inbox = Inbox()
        moved.append(round(command.delta[0] * 100, 6))
    assert moved == [2, 2, 2, 2, 0, 0]  # at 375 ms all was dealt with: the tick at 300 had the rest of the time
    state, _ = step(config, GateState(), START - 1, Inbox(instruction="go", policy_instruction="go"))
    state, _ = step(config, state, START, Inbox(chunks=(make_chunk(START, x0_m=0.1),)))
    _, command = step(config, state, START + 375 * MS, Inbox())
    assert command.delta[0] * 100 == pytest.approx(0.5)


@pytest.mark.parametrize("ahead_ms", [40, 50])
def test_a_camera_whose_clock_is_ahead_carries_no_chunk_across_a_stop(ahead_ms: int) -> None:
    state, _ = step(CONFIG, GateState(), START - 1, Inbox(instruction="go", policy_instruction="go"))
    ahead = make_chunk(START + ahead_ms * MS)
    state, _ = step(CONFIG, state, START, Inbox(chunks=(ahead,)))
    assert state.schedule.chunk is ahead
    state, _ = step(CONFIG, state, START, Inbox(emergency_stop=True))
    state, _ = step(CONFIG, state, START + 2 * MS, Inbox(emergency_stop=False))
    state, _ = step(CONFIG, state, START + 3 * MS, Inbox(reset=True))
    state, _ = step(CONFIG, state, START + 4 * MS, Inbox(instruction="go"))
    state, command = step(CONFIG, state, START + 50 * MS, Inbox(chunks=(ahead,)))
    assert command.is_stop


def test_a_clock_that_went_back_leaves_nothing_owed() -> None:
    """What was commanded at instants that are yet to come says nothing about the arm."""
    state, now_ns = make_running(START), START - 10_000 * MS
    state, _ = step(CONFIG, state, now_ns, Inbox())
    now_ns += PERIOD_NS
    _, command = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    assert command.delta[0] * 100 == pytest.approx(1)


def test_a_simulator_that_was_reset_by_a_moment_runs_on() -> None:
    state, _ = step(CONFIG, GateState(), START - MS, Inbox(instruction="go", policy_instruction="go"))
    state, _ = step(CONFIG, state, START, Inbox(chunks=(make_chunk(START),)))
    now_ns = START - 20 * MS
    state = restarted(state, now_ns)
    assert state.text == "ARMED: the simulator was reset"
    unmoved, command = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns - 1),)))
    assert command.is_stop
    assert unmoved.counts == {"dropped: older than the last stop": 1}
    _, command = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    assert command.delta[0] * 100 == pytest.approx(1)


def test_the_arm_of_a_simulator_that_was_reset_stands_still_and_was_never_held() -> None:
    """1 cm of change a tick: from a stand, 1 cm at most."""
    hold = dataclasses.replace(CONFIG.hold, max_per_minute=1, stop_ticks=4)
    config = dataclasses.replace(CONFIG, motion=make_motion(linear_acceleration=1.0), hold=hold)
    state, now_ns = make_running(START), START
    for _ in range(10):
        now_ns += PERIOD_NS
        state, _ = step(config, state, now_ns, Inbox())
    assert state.mode is Mode.HOLD
    now_ns += PERIOD_NS
    state, _ = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns, x0_m=0.05),)))
    now_ns = START
    state, command = step(config, restarted(state, now_ns), now_ns, Inbox(chunks=(make_chunk(now_ns, x0_m=0.05),)))
    assert command.delta[0] * 100 == pytest.approx(1)
    state, _ = step(config, state, now_ns + 10 * PERIOD_NS, Inbox())
    assert state.mode is Mode.HOLD


def test_the_ledger_reaches_as_far_back_as_an_image_may() -> None:
    """Half a centimetre at each of four ticks since the image: of 10 cm, 8 are left when its time is nearly over."""
    state, _ = step(CONFIG, GateState(), START - PERIOD_NS, Inbox(instruction="go", policy_instruction="go"))
    former = Inbox(chunks=(make_chunk(START - 1, x0_m=0.005, slope_m=0.0),))
    for tick in range(4):
        state, _ = step(CONFIG, state, START + tick * PERIOD_NS, former)
    _, command = step(CONFIG, state, START + 390 * MS, Inbox(chunks=(make_chunk(START),)))
    assert command.delta[0] * 100 == pytest.approx(8, abs=1e-4)


def test_the_ledger_grows_no_longer_than_it_may_be_asked() -> None:
    """Four rows are executed, and an image is at most as old; one tick more at either end."""
    state, _ = step(CONFIG, GateState(), START - PERIOD_NS, Inbox(instruction="go", policy_instruction="go"))
    for tick in range(20):
        now_ns = START + tick * PERIOD_NS
        state, _ = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    assert [(now_ns - tick_ns) // PERIOD_NS for tick_ns, _ in state.ledger.entries] == [5, 4, 3, 2, 1, 0]
