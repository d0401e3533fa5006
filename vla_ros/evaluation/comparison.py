"""Two evaluations, paired episode by episode: is the second one worse than the first, and by how much at most?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from vla_ros.errors import ConfigError
from vla_ros.evaluation import resume
from vla_ros.evaluation.plan import CONFIG
from vla_ros.evaluation.record import Provenance
from vla_ros.evaluation.statistics import BOOTSTRAP_BATCH, CONFIDENCE, wilson_interval
from vla_ros.sim.episode import EpisodeKey, EpisodeResult, read_results

ONE_SIDED = 0.90
"""A two-sided interval of so much ends at the one-sided 95 % bounds, as two one-sided tests want it."""

PAIRED_BY = ("simulator", "suite", "seed", "moved_target_m")
"""Of the configuration: where these differ, equal numbers do not mean equal initial states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two evaluations.

    Attributes:
        folder: of its results.
        provenance: what it was made with.
        results: its episodes by task and initial state.
    """

    folder: Path
    provenance: Provenance
    results: dict[EpisodeKey, EpisodeResult]

    @property
    def unfinished(self) -> int:
        """How many of its configuration's episodes have no result."""
        config = yaml.safe_load(self.provenance.configs[CONFIG])
        return len(config["tasks"]) * config["episodes_per_task"] - len(self.results)

    @property
    def failed_by_simulator(self) -> int:
        """Episodes that say nothing about the policy."""
        return sum(result.outcome == "simulator_failed" for result in self.results.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """B beside A on the same initial states. Differences are B - A, of scores: 0 to 1 an episode.

    Attributes:
        first, second: the two sides, A and B.
        pairs: episodes that both have.
        unpaired: episodes that only one has; nothing is said about them.
        rates: success rates on the pairs, A and B, and their Wilson intervals; what the simulator failed is no success.
        both, only_first, only_second, neither: pairs by who succeeded.
        mcnemar_p: exact two-sided p-value of "neither succeeds more often".
        difference: mean of the paired differences. What A's simulator failed, A is taken to have won, for it may have:
            all that is said of differences is at its worst for B.
        bootstrap95: its percentile bootstrap interval.
        adjusted95: its interval with one pair added that A wins and one that B wins (Bonett and Price 2012).
        lower_bound: the difference is at least that, with 95 % confidence (one-sided). The bootstrap cannot see what
            did not happen in the sample: where all pairs agree, it claims certainty. The adjusted interval keeps a
            width there. The lower one of the two counts.
        identical: pairs in which both executed the very same commands.
        margin: a loss of so much is not tolerated.
        settings: what else differs: name, value of A, value of B.
    """

    first: Side
    second: Side
    pairs: int
    unpaired: int
    rates: tuple[float, float]
    intervals: tuple[tuple[float, float], tuple[float, float]]
    both: int
    only_first: int
    only_second: int
    neither: int
    mcnemar_p: float
    difference: float
    bootstrap95: tuple[float, float]
    adjusted95: tuple[float, float]
    lower_bound: float
    identical: int
    margin: float
    settings: tuple[tuple[str, object, object], ...]

    @property
    def is_non_inferior(self) -> bool:
        """Whether a loss of the margin or more is excluded, on all episodes of two evaluations that are finished."""
        return self.lower_bound > -self.margin and not (self.first.unfinished or self.second.unfinished)


def read_side(folder: Path) -> Side:
    """The results of an evaluation.

    Raises:
        ConfigError: it has none, or is none.
    """
    results = {result.key: result for result in read_results(folder / resume.RESULTS)}
    if not results and (folder / "manifest.json").is_file():
        raise ConfigError(
            f"{folder}: expected the results of `vla-ros eval`, got a bundle; --config evaluates it first"
        )
    if not results:
        raise ConfigError(f"{folder / resume.RESULTS}: expected the results of `vla-ros eval`, got none")
    return Side(folder=folder, provenance=resume.read_provenance(folder), results=results)


def compare(first: Side, second: Side, margin: float) -> Comparison:
    """Compare on the episodes that both have.

    Raises:
        ConfigError: their initial states are not the same ones, or no episode is common to both.
    """
    settings = tuple(resume.differences(first.provenance, second.provenance))
    for name, ours, theirs in settings:
        if name.removeprefix("config.yaml: ") in PAIRED_BY:
            raise ConfigError(f"{second.folder}: {name}: expected {ours} as in {first.folder}, got {theirs}")
    keys = sorted(first.results.keys() & second.results.keys())
    if not keys:
        raise ConfigError(f"{second.folder}: expected episodes that {first.folder} has too, got none")
    pairs = [(first.results[key], second.results[key]) for key in keys]
    scores = np.array([(_at_best(a), score(b)) for a, b in pairs])
    won = scores == 1.0
    only_first, only_second = (int((won[:, i] & ~won[:, 1 - i]).sum()) for i in (0, 1))
    differences = scores[:, 1] - scores[:, 0]
    counts = [sum(pair[i].is_success for pair in pairs) for i in (0, 1)]
    return Comparison(
        first=first,
        second=second,
        pairs=len(keys),
        unpaired=len(first.results.keys() ^ second.results.keys()),
        rates=(counts[0] / len(keys), counts[1] / len(keys)),
        intervals=(wilson_interval(counts[0], len(keys)), wilson_interval(counts[1], len(keys))),
        both=int(won.all(axis=1).sum()),
        only_first=only_first,
        only_second=only_second,
        neither=int((~won).all(axis=1).sum()),
        mcnemar_p=mcnemar(only_first, only_second),
        difference=float(differences.mean()),
        bootstrap95=bootstrap_interval(differences, CONFIDENCE),
        adjusted95=adjusted_interval(differences, CONFIDENCE),
        lower_bound=min(interval(differences, ONE_SIDED)[0] for interval in (bootstrap_interval, adjusted_interval)),
        identical=sum(a.actions_sha256 == b.actions_sha256 and a.steps > 0 for a, b in pairs),
        margin=margin,
        settings=settings,
    )


def _at_best(result: EpisodeResult) -> float:
    """The score that the policy would have had at most: what the simulator failed says nothing about it."""
    return 1.0 if result.outcome == "simulator_failed" else score(result)


def score(result: EpisodeResult) -> float:
    """How much of an episode was done, 0 to 1: of a chain the share of its subtasks."""
    if len(result.subtasks) > 1:
        return result.completed_subtasks / len(result.subtasks)
    return float(result.is_success)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test: a binomial test on the pairs that disagree."""
    from scipy.stats import binomtest

    disagreeing = only_first + only_second
    return float(binomtest(only_first, disagreeing).pvalue) if disagreeing else 1.0


def bootstrap_interval(differences: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of paired differences, the same for the same pairs."""
    from scipy.stats import bootstrap

    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    random = np.random.default_rng(0)
    found = bootstrap(
        (differences,), np.mean, confidence_level=confidence, method="percentile", rng=random, batch=BOOTSTRAP_BATCH
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def adjusted_interval(differences: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Adjusted Wald interval of the mean of paired differences in [-1, 1] (Bonett and Price 2012).

    One pair is added that each side wins wholly: for successes that is one in each cell of those that disagree.
    """
    from scipy.stats import norm

    adjusted = np.append(differences, (-1.0, 1.0))
    half = float(norm.ppf(0.5 + confidence / 2)) * float(adjusted.std()) / float(np.sqrt(len(adjusted)))
    return max(float(adjusted.mean()) - half, -1.0), min(float(adjusted.mean()) + half, 1.0)


def pairs_needed(margin: float) -> int:
    """With fewer pairs not even complete agreement excludes a loss of the margin."""
    return next(n for n in range(1, 10**7) if adjusted_interval(np.zeros(n), ONE_SIDED)[0] > -margin)


def to_json(comparison: Comparison) -> dict[str, Any]:
    """One object of plain values."""
    return {
        "is_non_inferior": comparison.is_non_inferior,
        "margin": comparison.margin,
        "lower_bound": comparison.lower_bound,
        "difference": comparison.difference,
        "bootstrap95": list(comparison.bootstrap95),
        "adjusted95": list(comparison.adjusted95),
        "mcnemar_p": comparison.mcnemar_p,
        "pairs": comparison.pairs,
        "unpaired": comparison.unpaired,
        "both": comparison.both,
        "only_first": comparison.only_first,
        "only_second": comparison.only_second,
        "neither": comparison.neither,
        "identical": comparison.identical,
        "first": _side(comparison, 0),
        "second": _side(comparison, 1),
        "settings": [
            {"name": name, "first": str(ours), "second": str(theirs)} for name, ours, theirs in comparison.settings
        ],
    }


def _side(comparison: Comparison, index: int) -> dict[str, Any]:
    side = (comparison.first, comparison.second)[index]
    return {
        "folder": str(side.folder),
        "bundle": side.provenance.bundle,
        "bundle_sha256": side.provenance.bundle_sha256,
        "rate": comparison.rates[index],
        "ci95": list(comparison.intervals[index]),
        "failed_by_simulator": side.failed_by_simulator,
        "unfinished": side.unfinished,
    }


def text(comparison: Comparison) -> str:
    """For people: the figures, and what they allow to say."""
    lines = [
        f"{name}: {side.provenance.bundle} ({side.folder}): {_percent(rate)} of {comparison.pairs}, "
        f"95 % {_percent(low)} to {_percent(high)}"
        for name, side, rate, (low, high) in zip(
            "AB", (comparison.first, comparison.second), comparison.rates, comparison.intervals, strict=True
        )
    ]
    lines += [
        f"{comparison.pairs} pairs: both succeed {comparison.both}, only A {comparison.only_first}, only B "
        f"{comparison.only_second}, neither {comparison.neither}; in {comparison.identical} the same commands",
        f"McNemar's exact test: p = {comparison.mcnemar_p:.3g}",
        f"difference B - A: {_points(comparison.difference)}; 95 % intervals: bootstrap "
        f"{_span(comparison.bootstrap95)}, adjusted {_span(comparison.adjusted95)}",
    ]
    if comparison.unpaired:
        lines.append(f"left out: {comparison.unpaired} episodes that only one of them has")
    if comparison.first.failed_by_simulator or comparison.second.failed_by_simulator:
        lines.append(
            f"failed by the simulator: A {comparison.first.failed_by_simulator}, taken as won; B "
            f"{comparison.second.failed_by_simulator}, taken as lost"
        )
    lines += [f"differs too: {name}: {ours}, {theirs}" for name, ours, theirs in comparison.settings if _is_news(name)]
    return "\n".join([*lines, verdict(comparison)])


def verdict(comparison: Comparison) -> str:
    """The answer in one sentence."""
    margin, worst = f"{100 * comparison.margin:g} points", _points(comparison.lower_bound)
    for name, side in (("A", comparison.first), ("B", comparison.second)):
        if side.unfinished:
            return (
                f"not shown to be non-inferior: {name} lacks {side.unfinished} of its episodes; `vla-ros eval … "
                f"--output {side.folder}` goes on with them"
            )
    if comparison.is_non_inferior:
        return f"non-inferior: a loss of {margin} is excluded, B - A is at least {worst} (95 % confidence)"
    needed = pairs_needed(comparison.margin)
    if comparison.pairs < needed:
        return (
            f"not shown to be non-inferior: {comparison.pairs} pairs are too few, B - A may be {worst}; a margin of "
            f"{margin} takes at least {needed} pairs"
        )
    return f"not shown to be non-inferior: a loss of {margin} is not excluded, B - A may be {worst}"


def _is_news(name: str) -> bool:
    return name != "bundle_sha256"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f} points"


def _span(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
