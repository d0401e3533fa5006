import numpy as np

from vla_ros.data.inspection_histogram import histogram


def test_every_value_is_in_a_bar_or_counted_beyond_them() -> None:
    values = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    found = histogram(values, -2.0, 2.0)
    assert (found.low, found.high) == (-3.0, 3.0)
    assert (found.below, found.above) == ((values < -3).sum(), (values > 3).sum())
    assert sum(found.counts) + found.below + found.above == 5000


def test_bars_end_where_the_values_do() -> None:
    found = histogram(np.array([0.0, 1.0], np.float32), -10.0, 10.0)
    assert (found.low, found.high, found.counts[0], found.counts[-1]) == (0.0, 1.0, 1, 1)


def test_a_constant_is_one_bar_in_the_middle() -> None:
    found = histogram(np.full(7, 0.25, np.float32), 0.25, 0.25, bins=3)
    assert (found.low, found.high, found.counts) == (-0.25, 0.75, (0, 7, 0))
