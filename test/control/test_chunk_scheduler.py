"""What is due when: row k of a 10 Hz chunk stamped 1000 ms moves k + 1 cm, evenly in [1000 + 100 k, 1100 + 100 k)."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from test.control.gate_fixtures import MS, PERIOD_NS, make_chunk
from vla_ros.control.chunk_scheduler import LateSteps, Schedule
from vla_ros.control.displacement import NONE, Displacement
from vla_ros.control.displacement_ledger import DisplacementLedger

HORIZON = 8


def scheduled(now_ms: int, late: LateSteps = "skip", ledger: DisplacementLedger | None = None) -> Schedule:
    """A chunk whose first tick is at `now_ms`."""
    return Schedule(chunk=make_chunk(1000 * MS)).started(
        now_ms * MS, HORIZON, late, ledger or DisplacementLedger(), PERIOD_NS
    )


def due_cm(schedule: Schedule, now_ms: int, late: LateSteps = "skip", horizon: int = HORIZON) -> float | None:
    due = schedule.due(now_ms * MS, horizon, late, PERIOD_NS)
    return None if due is None else round(due.delta[0] * 100, 6)


def x_cm(value: float) -> Displacement:
    delta = NONE.copy()
    delta[0] = value / 100
    return delta


@pytest.mark.parametrize(
    ("now_ms", "cm"),
    [
        (999, None),
        (1000, 1),
        (1050, 1.5),
        (1099, 1.99),
        (1100, 2),
        (1350, 2),
        (1399, 0.04),
        (1400, None),
        (10**9, None),
    ],
)
def test_a_tick_moves_what_is_due_during_its_period(now_ms: int, cm: float | None) -> None:
    assert due_cm(scheduled(now_ms), now_ms) == cm


@pytest.mark.parametrize(("now_ms", "gripper"), [(1000, 1.0), (1049, 1.0), (1050, 0.0), (1100, 0.0), (1390, 0.0)])
def test_the_gripper_is_that_of_the_row_in_the_middle_of_the_period(now_ms: int, gripper: float) -> None:
    due = scheduled(now_ms).due(now_ms * MS, HORIZON, "skip", PERIOD_NS)
    assert due is not None
    assert due.gripper == gripper


@pytest.mark.parametrize("late", ["ledger", "skip", "restart"])
def test_rows_on_time_are_the_policys_own_to_the_last_bit(late: LateSteps) -> None:
    chunk = make_chunk(1000 * MS)
    chunk.actions[:, 3:6] = np.arange(12).reshape(4, 3) / 10
    schedule = Schedule(chunk=chunk).started(1000 * MS, HORIZON, late, DisplacementLedger(), PERIOD_NS)
    for row in range(4):
        due = schedule.due((1000 + 100 * row) * MS, HORIZON, late, PERIOD_NS)
        assert due is not None
        assert due.delta.tolist() == chunk.actions[row, :6].astype(float).tolist()
        schedule = schedule.after(due, due.delta, late)
        # where processors fuse multiplications and additions, the rotation left need not be zero: it is not asked for
        assert schedule.owed is NONE


def test_a_part_of_a_row_is_cut_out_in_double_precision() -> None:
    schedule = scheduled(1000)
    due = schedule.due(1000 * MS, HORIZON, "skip", 30 * MS)
    assert due is not None
    assert due.delta[0] == float(np.float32(0.01)) * 0.3


def test_a_chunk_begins_once_and_not_before_its_stamp() -> None:
    schedule = scheduled(1000, "restart")
    assert schedule.started(1100 * MS, HORIZON, "restart", DisplacementLedger(), PERIOD_NS) is schedule
    early = Schedule(chunk=make_chunk(1000 * MS))
    assert early.started(1000 * MS - 1, HORIZON, "restart", DisplacementLedger(), PERIOD_NS) is early
    assert Schedule().started(0, HORIZON, "restart", DisplacementLedger(), PERIOD_NS) == Schedule()


def test_rows_beyond_the_execution_horizon_never_run() -> None:
    schedule = scheduled(1000)
    assert [due_cm(schedule, now_ms, horizon=2) for now_ms in (1000, 1100, 1200, 1300)] == [1, 2, None, None]
    assert due_cm(schedule, 1150, horizon=2) == 1  # half of row 1, and nothing of row 2


def test_nothing_runs_twice() -> None:
    schedule = scheduled(1000)
    due = schedule.due(1000 * MS, HORIZON, "skip", PERIOD_NS)
    assert due is not None
    schedule = schedule.after(due, due.delta, "skip")
    assert [due_cm(schedule, now_ms) for now_ms in (950, 1000, 1020, 1100)] == [None, None, 0.4, 2]


def test_skip_loses_what_is_past() -> None:
    assert due_cm(scheduled(1250), 1250) == 3.5


@pytest.mark.parametrize(("now_ms", "cm"), [(1080, 1.6), (1124, 2.72), (1125, 2.75), (1126, 2.26), (1200, 3)])
def test_skip_loses_nothing_to_a_tick_that_is_up_to_a_quarter_period_late(now_ms: int, cm: float) -> None:
    """At 1124 ms, 124 ms of the chunk are due; at 1126, 26 of 126 are past. One that is early moves less."""
    schedule = scheduled(1000)
    due = schedule.due(1000 * MS, HORIZON, "skip", PERIOD_NS)
    assert due is not None
    assert due_cm(schedule.after(due, due.delta, "skip"), now_ms) == cm


def test_restart_plays_every_row_from_the_first_tick_on() -> None:
    schedule = scheduled(1250, "restart")
    moved = []
    for now_ms in (1249, 1250, 1350, 1450, 1550, 1650):
        moved.append(due_cm(schedule, now_ms, "restart"))
        due = schedule.due(now_ms * MS, HORIZON, "restart", PERIOD_NS)
        schedule = schedule if due is None else schedule.after(due, due.delta, "restart")
    assert moved == [None, 1, 2, 3, 4, None]


@pytest.mark.parametrize("late", ["ledger", "skip", "restart"])
@pytest.mark.parametrize(("rows", "horizon"), [(4, 8), (20, 4)])
def test_an_observation_as_old_as_the_rows_last_moves_nothing(late: LateSteps, rows: int, horizon: int) -> None:
    for first_ms, moves in ((1399, True), (1400, False), (1450, False), (2000, False)):
        schedule = Schedule(chunk=make_chunk(1000 * MS, rows=rows))
        schedule = schedule.started(first_ms * MS, horizon, late, DisplacementLedger(), PERIOD_NS)
        assert (schedule.due(first_ms * MS, horizon, late, PERIOD_NS) is not None) is moves


def test_the_ledger_makes_up_for_what_is_past() -> None:
    """It was moving all the time, by half a centimetre a period."""
    ledger = DisplacementLedger()
    for tick_ms in (1000, 1100):
        ledger = ledger.after(tick_ms * MS, x_cm(0.5), keep_ns=1000 * MS)
    assert due_cm(scheduled(1200, "ledger", ledger), 1200, "ledger") == 1 + 2 + 3 - 0.5 - 0.5


def test_an_arm_that_stood_still_since_the_observation_runs_the_whole_chunk_from_the_first_tick_on() -> None:
    ledger = DisplacementLedger().after(900 * MS, x_cm(5), keep_ns=1000 * MS)
    schedule = scheduled(1250, "ledger", ledger)
    assert [due_cm(schedule, now_ms, "ledger") for now_ms in (1249, 1250, 1350)] == [None, 1, 3]


@pytest.mark.parametrize("stamp_ms", [999, 1000, 1001])
def test_time_in_which_the_arm_stood_still_is_not_past(stamp_ms: int) -> None:
    """It stood until 1050, moved for 100 ms, and stood again: 100 ms of the chunk are past, whatever the stamp."""
    ledger = DisplacementLedger()
    for tick_ms, cm in ((900, 1.0), (1050, 0.25)):
        ledger = ledger.after(tick_ms * MS, x_cm(cm), keep_ns=1000 * MS)
    chunk = make_chunk(stamp_ms * MS)
    schedule = Schedule(chunk=chunk).started(1300 * MS, HORIZON, "ledger", ledger, PERIOD_NS)
    moved_since = 0.25 + max(0, 1000 - stamp_ms) / 100
    elapsed_rows = 1 + max(0, 1000 - stamp_ms) / 100
    due = due_cm(schedule, 1300, "ledger")
    assert due == pytest.approx(1 + 2 + 3 * (elapsed_rows - 1) - moved_since)


def test_the_ledger_takes_off_what_was_commanded_since_the_stamp() -> None:
    """Of the command at 950 ms, half was for after the stamp."""
    ledger = DisplacementLedger()
    for tick_ms, cm in ((850, 7.0), (950, 1.0), (1050, 1.5), (1150, 2.0)):
        ledger = ledger.after(tick_ms * MS, x_cm(cm), keep_ns=1000 * MS)
    assert due_cm(scheduled(1250, "ledger", ledger), 1250, "ledger") == 1 + 2 + 3 + 2 - 0.5 - 1.5 - 2


def test_the_ledger_goes_back_where_too_much_was_commanded() -> None:
    ledger = DisplacementLedger().after(1000 * MS, x_cm(5), keep_ns=1000 * MS)
    assert due_cm(scheduled(1100, "ledger", ledger), 1100, "ledger") == 1 + 2 - 5


@pytest.mark.parametrize(("late", "cm"), [("ledger", 2.5), ("skip", 2), ("restart", 2)])
def test_what_the_limits_cut_off_is_owed_by_the_ledger_alone(late: LateSteps, cm: float) -> None:
    schedule = scheduled(1000, late)
    due = schedule.due(1000 * MS, HORIZON, late, PERIOD_NS)
    assert due is not None
    assert due_cm(schedule.after(due, x_cm(0.5), late), 1100, late) == cm


def test_owed_rotation_comes_before_that_of_the_next_row() -> None:
    """A quarter turn about z, of which nothing was made, then one about x of the same frame."""
    actions = np.zeros((2, 7), np.float32)
    actions[0, 5] = actions[1, 3] = np.pi / 2
    chunk = dataclasses.replace(make_chunk(1000 * MS), actions=actions)
    schedule = Schedule(chunk=chunk).started(1000 * MS, HORIZON, "ledger", DisplacementLedger(), PERIOD_NS)
    due = schedule.due(1000 * MS, HORIZON, "ledger", PERIOD_NS)
    assert due is not None
    due = schedule.after(due, NONE, "ledger").due(1100 * MS, HORIZON, "ledger", PERIOD_NS)
    assert due is not None
    # x goes to y, then to z
    np.testing.assert_allclose(Rotation.from_rotvec(due.delta[3:]).apply([1, 0, 0]), [0, 0, 1], atol=1e-6)


def turned(*quarters: int) -> np.ndarray:
    """A quarter turn about z in row 0, one about x in row 1, so many times each."""
    actions = np.zeros((2, 7), np.float32)
    actions[0, 5], actions[1, 3] = np.array(quarters) * np.pi / 2
    return actions


def where_x_goes(delta: Displacement) -> np.ndarray:
    return Rotation.from_rotvec(delta[3:]).apply([1, 0, 0])


def test_a_tick_across_two_rows_makes_half_of_the_first_turn_and_then_half_of_the_second() -> None:
    chunk = dataclasses.replace(make_chunk(1000 * MS), actions=turned(2, 2))
    due = Schedule(chunk=chunk, start_ns=1000 * MS).due(1050 * MS, HORIZON, "skip", PERIOD_NS)
    assert due is not None
    np.testing.assert_allclose(where_x_goes(due.delta), [0, 0, 1], atol=1e-6)  # to y, then to z


def test_the_ledger_takes_off_turns_in_the_order_in_which_they_were_made() -> None:
    ledger = DisplacementLedger()
    for tick_ms, turn in ((1000, turned(1, 0)[0]), (1100, turned(0, 1)[1])):
        ledger = ledger.after(tick_ms * MS, turn[:6].astype(float), keep_ns=1000 * MS)
    np.testing.assert_allclose(where_x_goes(ledger.since(1000 * MS, PERIOD_NS, "axis_angle")), [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(where_x_goes(-scheduled(1200, "ledger", ledger).owed), [0, 0, 1], atol=1e-6)


def test_what_is_owed_of_a_turn_undoes_the_one_made_instead() -> None:
    """About z it was commanded, about x it was to be: back about z, then about x, where x goes to -y and then -z."""
    due = Schedule(chunk=dataclasses.replace(make_chunk(1000 * MS), actions=turned(0, 1)), start_ns=900 * MS).due(
        1000 * MS, HORIZON, "ledger", PERIOD_NS
    )
    assert due is not None
    schedule = Schedule().after(due, turned(1, 0)[0, :6].astype(float), "ledger")
    np.testing.assert_allclose(where_x_goes(schedule.owed), [0, 0, -1], atol=1e-6)


def test_a_command_to_stand_still_is_no_motion() -> None:
    assert DisplacementLedger().after(1000 * MS, NONE) == DisplacementLedger()


def test_of_an_arm_that_was_commanded_nothing_all_time_is_idle_to_the_nanosecond() -> None:
    assert DisplacementLedger().idle_ns(1000, 1001, PERIOD_NS) == 1


@pytest.mark.parametrize(
    ("stamp_ms", "now_ms", "idle_ms"),
    [
        (1000, 1020, 0),
        (1000, 1025, 0),
        (1000, 1030, 30),
        (1010, 1020, 0),
        (1025, 1040, 15),
        (1026, 1040, 14),
        (890, 1000, 10),
        (800, 1100, 200),
    ],
)
def test_a_tick_up_to_a_quarter_period_late_leaves_no_idle_time(stamp_ms: int, now_ms: int, idle_ms: int) -> None:
    """One command, of 900 to 1000 ms."""
    ledger = DisplacementLedger().after(900 * MS, x_cm(1), keep_ns=1000 * MS)
    assert ledger.idle_ns(stamp_ms * MS, now_ms * MS, 100 * MS) == idle_ms * MS


def test_old_commands_are_forgotten() -> None:
    ledger = DisplacementLedger()
    for tick_ms in range(0, 1000, 100):
        ledger = ledger.after(tick_ms * MS, x_cm(1), keep_ns=250 * MS)
    assert [tick // MS for tick, _ in ledger.entries] == [700, 800, 900]
    ledger = ledger.after(1000 * MS, x_cm(1), keep_ns=200 * MS)
    assert [tick // MS for tick, _ in ledger.entries] == [900, 1000]


def test_only_a_later_observation_is_newer() -> None:
    schedule = scheduled(1000)
    assert not schedule.is_newer(make_chunk(1000 * MS))
    assert not schedule.is_newer(make_chunk(999 * MS))
    assert schedule.is_newer(make_chunk(1001 * MS))


def test_without_a_chunk_nothing_is_due() -> None:
    assert Schedule().due(1000 * MS, HORIZON, "ledger", PERIOD_NS) is None


def test_what_is_owed_and_what_is_past_are_turned_one_after_the_other() -> None:
    """A quarter turn about y was commanded since the image; the row that is past turns by one about x."""
    chunk = make_chunk(1000 * MS)
    chunk.actions[:, :6] = 0.0
    chunk.actions[0, 3] = np.pi / 2
    turned = NONE.copy()
    turned[4] = np.pi / 2
    ledger = DisplacementLedger(entries=((1000 * MS, turned),))
    schedule = Schedule(chunk=chunk).started(1100 * MS, HORIZON, "ledger", ledger, PERIOD_NS)
    due = schedule.due(1100 * MS, HORIZON, "ledger", PERIOD_NS)
    assert due is not None
    wanted = Rotation.from_euler("x", 90, degrees=True) * Rotation.from_euler("y", -90, degrees=True)
    np.testing.assert_allclose(due.owed[3:], wanted.as_rotvec(), atol=1e-6)
