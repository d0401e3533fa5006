"""Streaming statistics against NumPy on the whole."""

import numpy as np
import pytest

from vla_ros.data import statistics
from vla_ros.data.statistics import StatisticsAccumulator
from vla_ros.errors import DatasetError
from vla_ros.processing.normalization import Statistics


def accumulate(rows: np.ndarray, portion: int) -> Statistics:
    accumulator = StatisticsAccumulator()
    for start in range(0, len(rows), portion):
        accumulator.add(rows[start : start + portion])
    return accumulator.result()


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Heavy-tailed, normal, constant, drifting, mostly zero, quantised and two-valued columns, 300 000 rows."""
    random = np.random.default_rng(0)
    count = 300_000
    columns = [
        random.standard_cauchy(count),
        100 + 0.01 * random.normal(size=count),  # a variance that is lost where squares are summed
        np.full(count, 0.1),
        random.normal(size=count) + np.linspace(0, 5, count),
        np.where(random.random(count) < 0.985, 0.0, random.normal(size=count)),
        np.round(random.normal(size=count) * 127) / 127,
        random.random(count) > 0.4,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def test_a_data_set_that_fits_in_one_block_has_numpys_statistics(rows: np.ndarray) -> None:
    assert accumulate(rows[:5000], portion=77) == Statistics.of(rows[:5000])


def test_beyond_one_block_moments_and_extremes_are_numpys(rows: np.ndarray) -> None:
    streamed, whole = accumulate(rows, portion=1000), Statistics.of(rows)
    assert (streamed.count, streamed.min, streamed.max) == (whole.count, whole.min, whole.max)
    np.testing.assert_allclose(streamed.mean, whole.mean, rtol=1e-9)
    np.testing.assert_allclose(streamed.std, whole.std, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("block", [4096, statistics.BLOCK])
def test_beyond_one_block_quantiles_have_the_right_rank(
    rows: np.ndarray, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "BLOCK", block)
    streamed = accumulate(rows, portion=1000)
    for column in range(7):
        ordered = np.sort(rows[:, column].astype(np.float64))
        step = 1 / 127 if column == 5 else 0.0  # between two levels the digest interpolates
        for quantile, value in ((0.01, streamed.q01[column]), (0.99, streamed.q99[column])):
            below = np.searchsorted(ordered, value - step, "left") / len(rows)
            not_above = np.searchsorted(ordered, value + step, "right") / len(rows)
            assert below - 2e-4 <= quantile <= not_above + 2e-4, (column, quantile)


def test_a_constant_and_a_two_valued_dimension_keep_their_values(rows: np.ndarray) -> None:
    streamed = accumulate(rows, portion=1000)
    assert streamed.q01[2] == streamed.q99[2] == np.float32(0.1)
    assert (streamed.q01[6], streamed.q99[6]) == (0.0, 1.0)


def test_how_the_actions_are_portioned_changes_nothing(rows: np.ndarray) -> None:
    assert accumulate(rows, portion=123) == accumulate(rows, portion=50_000)


def test_no_action_is_an_error() -> None:
    with pytest.raises(DatasetError, match="expected at least one action, got none"):
        StatisticsAccumulator().result()
