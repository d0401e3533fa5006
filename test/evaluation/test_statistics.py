import pytest

from test.evaluation.episodes import episode
from vla_ros.evaluation.statistics import mean_interval, summarize, summarize_chains, summarize_latency, wilson_interval
from vla_ros.sim.episode import SubtaskResult


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


def chain(completed: int, length: int = 5) -> tuple[SubtaskResult, ...]:
    outcomes = ["success"] * completed + ["timeout"] * (completed < length)
    outcomes += ["not_reached"] * (length - len(outcomes))
    return tuple(SubtaskResult(name="x", instruction="x", outcome=outcome, steps=1) for outcome in outcomes)  # type: ignore[arg-type]


def test_chains_are_counted_as_calvin_does() -> None:
    lengths = [5, 0, 2, 2, 1]
    chains = summarize_chains([episode(subtasks=chain(length)) for length in lengths])
    assert chains is not None
    assert (chains.n, chains.mean) == (5, 2.0)
    assert [count for count, _ in chains.at_least] == [4, 3, 1, 1, 1]  # 1 to 5 in a row
    assert chains.at_least[0][1] == wilson_interval(4, 5)
    assert chains.ci95[0] < 2.0 < chains.ci95[1]


def test_a_chain_whose_simulator_died_without_a_word_counts_as_none_completed() -> None:
    chains = summarize_chains([episode(subtasks=chain(5)), episode(outcome="simulator_failed", subtasks=())])
    assert chains is not None
    assert (chains.n, chains.mean) == (2, 2.5)


def test_episodes_that_ask_for_one_thing_have_no_chains() -> None:
    assert summarize_chains([episode(), episode(subtasks=chain(1, length=1))]) is None
    assert summarize_chains([]) is None


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] * 50  # standard deviation 1.71, so 2.5 +- 1.96 * 1.71 / sqrt(300)
    assert mean_interval(values) == pytest.approx((2.5 - 0.193, 2.5 + 0.193), abs=0.02)
    assert mean_interval([3.0, 3.0]) == (3.0, 3.0)


def test_a_simulators_failure_counts_among_the_episodes_and_never_as_a_success() -> None:
    (task,) = summarize([episode(), episode(initial_state=1, outcome="simulator_failed", steps=3)])
    assert (task.n, task.successes) == (2, 1)
    assert task.outcomes == {"success": 1, "simulator_failed": 1}


def test_speed_and_limits_are_over_all_steps() -> None:
    (task,) = summarize(
        [
            episode(steps=100, simulator_s=2.0, clamped_steps=5, rendered=13, latency_ms=(50.0,)),
            episode(initial_state=1, steps=300, simulator_s=2.0, clamped_steps=0, rendered=38, latency_ms=(150.0,)),
        ]
    )
    assert (task.steps_per_s, task.clamped_share, task.rendered) == (100.0, 5 / 400, 51)
    assert task.latency is not None
    assert task.latency.p50_ms == 100.0
