"""Temporal ensembling, against means computed by hand."""

import numpy as np
import pytest

from test.control.gate_fixtures import MS, PERIOD_NS, make_chunk
from vla_ros.control.temporal_ensemble import Prediction, ensemble


def predicted(start_ms: float, x0_cm: float, slope_cm: float = 0.0, rows: int = 4) -> Prediction:
    chunk = make_chunk(round(start_ms * MS), rows=rows, x0_m=x0_cm / 100, slope_m=slope_cm / 100)
    return Prediction(chunk=chunk, start_ns=chunk.stamp_ns)


def x_cm(newest: Prediction, *former: Prediction, coeff: float = 0.0) -> list[float]:
    return np.round(ensemble(newest, former, coeff).actions[:, 0] * 100, 4).tolist()


def test_rows_of_the_same_time_are_averaged_and_those_that_no_other_chunk_has_are_kept() -> None:
    """The former one's rows 2 and 3, of 3 and 4 cm, are at the time of the newest one's rows 0 and 1, of 11 and 12."""
    assert x_cm(predicted(200, 11, 1), predicted(0, 1, 1)) == [7, 8, 13, 14]


def test_by_time_and_not_by_position_half_a_row_is_half_of_each() -> None:
    """At 150 ms the former one is in the middle of row 1: half of 2 cm and half of 3 cm."""
    assert x_cm(predicted(150, 10), predicted(0, 1, 1)) == [(10 + 2.5) / 2, (10 + 3.5) / 2, 10, 10]


def test_older_chunks_weigh_more_with_a_positive_coefficient_as_in_act() -> None:
    weights = np.exp(-0.5 * np.array([0, 1, 2]))
    expected = np.average([1, 2, 3], weights=weights)
    assert x_cm(predicted(200, 3), predicted(0, 1), predicted(100, 2), coeff=0.5)[0] == pytest.approx(
        expected, abs=1e-3
    )


def test_the_oldest_that_still_has_a_say_sets_the_ages() -> None:
    """At 300 ms, the newest one's row 1, all three; at 400 the first one is over."""
    rows = x_cm(predicted(200, 3), predicted(0, 1), predicted(100, 2), coeff=0.5)
    assert rows[2] == pytest.approx(np.average([2, 3], weights=[1, np.exp(-0.5)]), abs=1e-3)
    assert rows[3] == 3


def test_alone_a_chunk_is_what_it_was_to_the_last_bit() -> None:
    newest = predicted(0, 1, 1)
    assert ensemble(newest, (), 0.01).actions.tolist() == newest.chunk.actions.tolist()


def test_the_gripper_is_the_mean_of_the_openings_in_the_middle_of_the_period() -> None:
    """Former one: open in rows 0 and 2. Newest one, 160 ms later: open in its rows 0 and 2, at 160 and 360 ms."""
    grippers = ensemble(predicted(160, 1), (predicted(0, 1),), 0.0).actions[:, 6].tolist()
    assert grippers == [1.0, 0.0, 1.0, 0.0]
    assert ensemble(predicted(100, 1), (predicted(0, 1),), 0.0).actions[:, 6].tolist() == [0.5, 0.5, 0.5, 0.0]


@pytest.mark.parametrize(("late_ms", "gripper"), [(0, 1.0), (40, 1.0), (50, 0.0), (60, 0.0)])
def test_between_rows_the_gripper_is_that_of_the_row_in_the_middle_of_the_period(late_ms: int, gripper: float) -> None:
    """Open in row 0, closed in row 1, which begins at 100 ms."""
    action = predicted(0, 1, rows=3).during(late_ms * MS)
    assert action is not None
    assert action[6] == gripper


def test_means_are_taken_in_double_precision() -> None:
    prediction = predicted(0, 1, 1)
    row, following = prediction.chunk.actions[:2, 0].astype(float)
    for late_ms, expected in ((0, row), (30, 0.7 * row + 0.3 * following)):
        action = prediction.during(late_ms * MS)
        assert action is not None
        assert action.dtype == np.float64
        assert action[0] == expected


def test_a_mean_of_openings_is_an_opening() -> None:
    """Whatever the weights, no rounding leads beyond 1."""
    former = [predicted(start_ms, 1, rows=20) for start_ms in (0, 13, 50, 77, 101)]
    for prediction in former:
        prediction.chunk.actions[:, 6] = 1.0
    newest = former.pop()
    for coeff in np.linspace(-1, 1, 50):
        assert ensemble(newest, tuple(former), coeff).actions[:, 6].tolist() == [1.0] * 20


def test_a_chunk_that_starts_later_has_no_say() -> None:
    late = predicted(100, 9)
    assert late.during(0) is None
    assert late.during(100 * MS + 3 * PERIOD_NS) is not None
    assert late.during(100 * MS + 3 * PERIOD_NS + 1) is None
