import pytest

from test.evaluation.episodes import episode
from vla_ros.evaluation.statistics import summarize, summarize_latency, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_the_published_table(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_interval_by_hand() -> None:
    # n = z^2 = 3.8415: the centre is (p + 1/2) / 2 and the half width sqrt(p (1 - p) + 1/4) / 2 in the limit; at
    # 1 of 1: low = 1 / (1 + z^2) = 1 / 4.841459 = 0.206549
    assert wilson_interval(1, 1) == (pytest.approx(0.206549, abs=1e-6), 1.0)


def test_no_and_all_successes_give_exact_bounds_and_still_a_width() -> None:
    assert wilson_interval(0, 7)[0] == 0.0
    assert wilson_interval(7, 7)[1] == 1.0
    assert wilson_interval(5, 5)[0] == pytest.approx(1 - wilson_interval(0, 5)[1])


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_an_impossible_count_is_an_error(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes of n"):
        wilson_interval(successes, n)


def test_percentiles_interpolate_linearly() -> None:
    # ranks 0..4 of five values: p50 is rank 2; p99 is rank 3.96, so 40 + 0.96 * (140 - 40)
    summary = summarize_latency([140.0, 10.0, 20.0, 40.0, 30.0])
    assert summary is not None
    assert (summary.count, summary.p50_ms, summary.max_ms) == (5, 30.0, 140.0)
    assert summary.p99_ms == pytest.approx(136.0)


def test_no_measurement_has_no_percentiles() -> None:
    assert summarize_latency([]) is None


def test_tasks_are_summed_up_apart_and_pool_their_latencies() -> None:
    first, second = summarize(
        [
            episode(steps=100, reaction_ms=(10.0,)),
            episode(task_index=3, task="b", outcome="held", reason="no chunk"),
            episode(initial_state=1, outcome="timeout", steps=300, reaction_ms=(20.0, 30.0)),
        ]
    )
    assert (first.n, first.successes, first.rate, first.mean_steps) == (2, 1, 0.5, 200.0)
    assert first.outcomes == {"success": 1, "timeout": 1}
    assert first.initial_states == (0, 1)
    assert first.reaction is not None
    assert first.reaction.p50_ms == 20.0
    assert (second.task, second.successes) == ("b", 0)
