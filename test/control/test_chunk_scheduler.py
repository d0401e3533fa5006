"""Which row is due when: in ms, row k of a 10 Hz chunk stamped 1000 is due in [1000 + 100 k, 1100 + 100 k)."""

import pytest

from test.control.gate_fixtures import MS, make_chunk
from vla_ros.control.chunk_scheduler import Schedule


@pytest.mark.parametrize(
    ("now_ms", "row"),
    [(999, None), (1000, 0), (1099, 0), (1100, 1), (1399, 3), (1400, None), (10**9, None)],
)
def test_a_row_is_due_during_its_own_period_only(now_ms: int, row: int | None) -> None:
    schedule = Schedule().with_chunk(make_chunk(1000 * MS))
    assert schedule.due_row(now_ms * MS, execution_horizon=8) == row


def test_rows_beyond_the_execution_horizon_never_run() -> None:
    schedule = Schedule().with_chunk(make_chunk(1000 * MS, rows=4))
    assert [schedule.due_row(t * MS, execution_horizon=2) for t in (1000, 1100, 1200, 1300)] == [0, 1, None, None]


def test_a_late_chunk_skips_the_steps_its_latency_consumed() -> None:
    schedule = Schedule().with_chunk(make_chunk(1000 * MS))
    assert schedule.due_row(1250 * MS, execution_horizon=8) == 2


def test_no_row_runs_twice() -> None:
    schedule = Schedule().with_chunk(make_chunk(1000 * MS)).after(1)
    assert schedule.due_row(1150 * MS, execution_horizon=8) is None
    assert schedule.due_row(1050 * MS, execution_horizon=8) is None
    assert schedule.due_row(1200 * MS, execution_horizon=8) == 2


@pytest.mark.parametrize(("now_ms", "row"), [(1074, None), (1075, 1), (1100, 1), (1199, 1), (1224, 1), (1225, 2)])
def test_the_next_row_bears_a_quarter_period_of_jitter(now_ms: int, row: int | None) -> None:
    schedule = Schedule().with_chunk(make_chunk(1000 * MS)).after(0)
    assert schedule.due_row(now_ms * MS, execution_horizon=8) == row


def test_only_a_later_observation_is_newer() -> None:
    schedule = Schedule().with_chunk(make_chunk(1000 * MS))
    assert not schedule.is_newer(make_chunk(1000 * MS))
    assert not schedule.is_newer(make_chunk(999 * MS))
    assert schedule.is_newer(make_chunk(1001 * MS))


def test_without_a_chunk_nothing_is_due() -> None:
    assert Schedule().due_row(1000 * MS, execution_horizon=8) is None
