"""Paired comparison: against published formulas, by counting, and as a gate."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from test.evaluation.episodes import episode, evaluation
from vla_ros.cli import main
from vla_ros.errors import ConfigError
from vla_ros.evaluation.comparison import (
    ONE_SIDED,
    Comparison,
    Side,
    adjusted_interval,
    bootstrap_interval,
    compare,
    mcnemar,
    pairs_needed,
    read_side,
    score,
    text,
)
from vla_ros.sim.episode import EpisodeResult, SubtaskResult, append_result

PROVENANCE = evaluation(Path("out")).provenance


def config(episodes: int, suite: str = "libero_object") -> dict[str, str]:
    return {"config.yaml": f"suite: {suite}\ntasks: [0]\nepisodes_per_task: {episodes}\n"}


def side(name: str, wins: list[bool], **changes: object) -> Side:
    results = [
        episode(initial_state=state, outcome="success" if is_won else "timeout", actions_sha256=name * 64)
        for state, is_won in enumerate(wins)
    ]
    changes = {"configs": config(len(wins))} | changes
    provenance = replace(PROVENANCE, bundle=f"models/{name}", bundle_sha256=name * 64, **changes)  # type: ignore[arg-type]
    return Side(folder=Path(name), provenance=provenance, results={result.key: result for result in results})


def pairs(both: int, only_first: int, only_second: int, neither: int, margin: float = 0.05) -> Comparison:
    cells = [(True, True)] * both + [(True, False)] * only_first + [(False, True)] * only_second
    cells += [(False, False)] * neither
    return compare(side("a", [a for a, _ in cells]), side("b", [b for _, b in cells]), margin)


def test_pairs_are_counted_by_who_succeeded() -> None:
    found = pairs(20, 12, 2, 16)
    assert (found.both, found.only_first, found.only_second, found.neither) == (20, 12, 2, 16)
    assert found.rates == (32 / 50, 22 / 50)
    assert found.difference == pytest.approx(-10 / 50)


@pytest.mark.parametrize("cells", [(12, 2), (0, 5), (3, 3), (1, 0)])
def test_mcnemar_is_the_sign_test_on_the_pairs_that_disagree(cells: tuple[int, int]) -> None:
    n, least = sum(cells), min(cells)
    assert mcnemar(*cells) == pytest.approx(min(1.0, 2 * binom.cdf(least, n, 0.5)))


def test_without_disagreement_nothing_speaks_against_equality() -> None:
    assert mcnemar(0, 0) == 1.0


def test_the_adjusted_interval_is_that_of_bonett_and_price() -> None:
    """p12 = (f12 + 1) / (n + 2), p21 alike: p12 - p21 +- z sqrt((p12 + p21 - (p12 - p21)^2) / (n + 2))."""
    n, gained, lost = 50, 2, 12
    p12, p21, z = (gained + 1) / (n + 2), (lost + 1) / (n + 2), 1.959963984540054
    half = z * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    found = pairs(20, lost, gained, 16)
    assert found.adjusted95 == pytest.approx((p12 - p21 - half, p12 - p21 + half))


def test_the_bootstrap_covers_as_often_as_it_says_and_is_the_same_for_the_same_pairs() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        differences = random.choice([-1.0, 0.0, 1.0], size=100, p=[0.1, 0.8, 0.1])
        low, high = bootstrap_interval(differences, 0.95)
        covered += low <= 0 <= high
    assert covered >= 88
    assert bootstrap_interval(differences, 0.95) == (low, high)


def test_pairs_that_all_agree_do_not_show_more_than_their_number_can() -> None:
    few, enough = pairs(20, 0, 0, 0), pairs(60, 0, 0, 0)
    assert few.bootstrap95 == (0.0, 0.0)
    assert not few.is_non_inferior
    assert few.lower_bound < -0.05 < enough.lower_bound
    assert enough.is_non_inferior
    assert "20 pairs are too few" in text(few)
    assert f"takes at least {pairs_needed(0.05)} pairs" in text(few)


def test_a_loss_within_the_margin_is_accepted_only_when_it_is_known_well_enough() -> None:
    assert not pairs(90, 3, 0, 7).is_non_inferior
    assert pairs(940, 12, 8, 40).is_non_inferior
    assert not pairs(900, 60, 0, 40).is_non_inferior
    assert pairs(60, 0, 30, 10).is_non_inferior


@pytest.mark.parametrize(("n", "discordant"), [(60, 0.05), (60, 0.2), (200, 0.1)])
def test_a_policy_that_loses_the_margin_is_rarely_accepted(n: int, discordant: float) -> None:
    """Exact, over all outcomes of n pairs, for policies that are worse by exactly the margin."""
    margin = 0.05
    lost, gained = (discordant + margin) / 2, (discordant - margin) / 2
    accepted = 0.0
    for losses, gains in itertools.product(range(n + 1), repeat=2):
        if losses + gains > n or binom.pmf(losses, n, lost) < 1e-9:
            continue
        differences = np.concatenate([-np.ones(losses), np.ones(gains), np.zeros(n - losses - gains)])
        if adjusted_interval(differences, ONE_SIDED)[0] > -margin:
            left = gained / (1 - lost)
            accepted += float(binom.pmf(losses, n, lost) * binom.pmf(gains, n - losses, left))
    assert accepted < 0.07


def test_only_common_episodes_are_compared_and_the_others_are_told() -> None:
    found = compare(side("a", [True] * 5), side("b", [True] * 3), 0.05)
    assert (found.pairs, found.unpaired) == (3, 2)
    assert "left out: 2 episodes" in text(found)


def test_an_evaluation_that_broke_off_is_no_reason_to_say_yes() -> None:
    whole, half = side("a", [True] * 60), side("b", [True] * 60, configs=config(64))
    for first, second, name in ((whole, half, "B"), (half, whole, "A")):
        found = compare(first, second, 0.05)
        assert found.lower_bound > -0.05
        assert not found.is_non_inferior
        assert f"{name} lacks 4 of its episodes; `vla-ros eval … --output b` goes on" in text(found)


def test_what_the_simulator_failed_never_speaks_for_the_newcomer() -> None:
    """A's own failures: B fails on the very same states."""
    fine, failing = side("a", [True] * 55 + [False] * 5), side("b", [True] * 55 + [False] * 5)
    assert compare(fine, failing, 0.05).is_non_inferior
    lost = {
        key: replace(result, outcome="simulator_failed") if not result.is_success else result
        for key, result in fine.results.items()
    }
    found = compare(replace(fine, results=lost), failing, 0.05)
    assert not found.is_non_inferior
    assert (found.only_first, found.rates) == (5, (55 / 60, 55 / 60))
    assert found.difference == pytest.approx(-5 / 60)
    assert "failed by the simulator: A 5, taken as won; B 0, taken as lost" in text(found)


def test_episodes_that_share_no_state_cannot_be_compared() -> None:
    other = side("b", [True])
    moved = replace(other, results={(5, 5): other.results[0, 0]})
    with pytest.raises(ConfigError, match="expected episodes that a has too, got none"):
        compare(side("a", [True]), moved, 0.05)


def test_another_suite_is_no_pair_and_another_setting_is_told() -> None:
    configs = config(1, "libero_spatial")
    with pytest.raises(
        ConfigError, match=r"^b: config.yaml: suite: expected libero_object as in a, got libero_spatial"
    ):
        compare(side("a", [True]), side("b", [True], configs=configs), 0.05)
    configs = config(1) | {"robot.yaml": "late_steps: skip\n"}
    assert "differs too: robot.yaml: late_steps: nothing, skip" in text(
        compare(side("a", [True]), side("b", [True], configs=configs), 0.05)
    )


def test_a_chain_counts_by_the_share_that_was_done() -> None:
    parts = [SubtaskResult(name="x", instruction="x", outcome=outcome, steps=1) for outcome in ("success", "timeout")]
    assert score(episode(outcome="timeout", subtasks=tuple(parts))) == 0.5
    assert score(episode(subtasks=(parts[0],))) == 1.0


def write(folder: Path, wins: list[bool], sha: str) -> None:
    folder.mkdir()
    provenance = {
        "bundle": f"models/{sha}",
        "bundle_sha256": sha * 64,
        "mode": "lockstep",
        "configs": config(len(wins)),
        "versions": {},
        "machine": {},
        "started": "",
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    for state, is_won in enumerate(wins):
        result: EpisodeResult = episode(initial_state=state, outcome="success" if is_won else "timeout")
        append_result(folder / "episodes.jsonl", result)


def test_the_exit_code_is_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a", [True] * 60, "a")
    write(tmp_path / "good", [True] * 60, "b")
    write(tmp_path / "bad", [True] * 48 + [False] * 12, "c")
    figures = tmp_path / "figures.json"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "good"), "--json", str(figures)]) == 0
    assert "non-inferior: a loss of 5 points is excluded" in capsys.readouterr().out
    assert json.loads(figures.read_text())["is_non_inferior"] is True
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "bad")]) == 1
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "bad"), "--margin", "40"]) == 0
    assert main(["compare", str(tmp_path / "bad"), str(tmp_path / "a")]) == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a", "nothing"], "episodes.jsonl: expected the results of `vla-ros eval`, got none"),
        (["a", "a", "--margin", "0"], "--margin: expected points of success"),
        (["a", "a", "--episodes", "3"], "expected with --config alone"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a"), [True], "a")
    assert main(["compare", *arguments]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert line in error


def test_results_are_read_with_their_provenance(tmp_path: Path) -> None:
    write(tmp_path / "a", [True, False], "a")
    found = read_side(tmp_path / "a")
    assert (found.provenance.bundle_sha256, len(found.results)) == ("a" * 64, 2)
