"""What a handful of episodes can and cannot tell: success rates with their interval, latencies with their tail."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vla_ros.sim.episode import EpisodeResult

CONFIDENCE = 0.95
BOOTSTRAP_BATCH = 500
"""Resamples at a time, which bounds the memory."""


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a success rate (Wilson 1927; Newcombe 1998, method 3).

    It stays inside [0, 1] and keeps a width at 0 of n and n of n, where the usual normal interval claims certainty.

    Raises:
        ValueError: n < 1 or successes not in [0, n].
    """
    from scipy.stats import binomtest

    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes of n: expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    interval = binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean, always the same for the same values.

    Raises:
        ValueError: there are no values.
    """
    from scipy.stats import bootstrap

    if len(values) == 0:
        raise ValueError("values: expected at least one, got none")
    if min(values) == max(values):
        return float(values[0]), float(values[0])
    found = bootstrap(
        (values,), np.mean, confidence_level=CONFIDENCE, method="percentile", rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Percentiles of a latency, interpolated linearly between the two nearest measurements.

    Attributes:
        count: measurements.
        p50_ms, p99_ms, max_ms: [ms].
    """

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def summarize_latency(values_ms: Sequence[float]) -> LatencySummary | None:
    """Percentiles of all measurements [ms], the first (cold) ones included; None where there are none."""
    if not values_ms:
        return None
    p50, p99 = np.percentile(np.asarray(values_ms, dtype=np.float64), (50, 99))
    return LatencySummary(count=len(values_ms), p50_ms=float(p50), p99_ms=float(p99), max_ms=max(values_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSummary:
    """All episodes of one task (or of all tasks together).

    Attributes:
        task, instruction: which.
        n, successes: finished episodes, and those that reached the benchmark's goal.
        ci95: Wilson 95 % interval of successes / n.
        outcomes: how often each outcome occurred.
        mean_steps: control periods per episode, failures included.
        clamped_share: of all steps, those whose command exceeded what the simulator executes.
        reaction: from an image's publication to the first command derived from it.
        latency: as drawn for the images, in mode latency.
        max_lag_ms: by how much the world was behind the wall clock at most, in mode real_time [ms].
        steps_per_s: of the simulator alone, images included, resets not; None if nothing was measured.
        rendered: images rendered.
        initial_states: which of the benchmark's own.
    """

    task: str
    instruction: str
    n: int
    successes: int
    ci95: tuple[float, float]
    outcomes: dict[str, int]
    mean_steps: float
    clamped_share: float
    reaction: LatencySummary | None
    latency: LatencySummary | None
    max_lag_ms: float
    steps_per_s: float | None
    rendered: int
    initial_states: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Share of successful episodes, 0 to 1."""
        return self.successes / self.n


def summarize(results: Iterable[EpisodeResult]) -> tuple[TaskSummary, ...]:
    """One summary a task, in the order of their first episodes."""
    tasks: dict[int, list[EpisodeResult]] = {}
    for result in results:
        tasks.setdefault(result.task_index, []).append(result)
    return tuple(summarize_task(episodes) for episodes in tasks.values())


def summarize_task(episodes: Sequence[EpisodeResult], task: str = "", instruction: str = "") -> TaskSummary:
    """Sum up episodes; `task` and `instruction` replace those of the first episode.

    Raises:
        ValueError: there are no episodes.
    """
    successes = sum(episode.is_success for episode in episodes)
    steps = sum(episode.steps for episode in episodes)
    simulator_s = sum(episode.simulator_s for episode in episodes)
    return TaskSummary(
        ci95=wilson_interval(successes, len(episodes)),
        task=task or episodes[0].task,
        instruction=instruction or episodes[0].instruction,
        n=len(episodes),
        successes=successes,
        outcomes=dict(Counter(episode.outcome for episode in episodes)),
        mean_steps=steps / len(episodes),
        clamped_share=sum(episode.clamped_steps for episode in episodes) / max(steps, 1),
        reaction=summarize_latency([value for episode in episodes for value in episode.reaction_ms]),
        latency=summarize_latency([value for episode in episodes for value in episode.latency_ms]),
        max_lag_ms=max(episode.lag_ms for episode in episodes),
        steps_per_s=steps / simulator_s if simulator_s else None,
        rendered=sum(episode.rendered for episode in episodes),
        initial_states=tuple(episode.initial_state for episode in episodes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSummary:
    """Episodes of several subtasks, as CALVIN counts them.

    Attributes:
        n: chains.
        mean: subtasks completed in a row, on average.
        ci95: bootstrap interval of the mean.
        at_least: for k = 1, 2 …: chains with k or more completed, and the Wilson interval of their share.
    """

    n: int
    mean: float
    ci95: tuple[float, float]
    at_least: tuple[tuple[int, tuple[float, float]], ...]


def summarize_chains(episodes: Sequence[EpisodeResult]) -> ChainSummary | None:
    """Chain lengths, or None where every episode asks for one thing only.

    A chain whose simulator died without a word counts as none completed.
    """
    length = max((len(episode.subtasks) for episode in episodes), default=0)
    if length < 2:
        return None
    completed = [episode.completed_subtasks for episode in episodes]
    counts = [sum(done >= k for done in completed) for k in range(1, length + 1)]
    return ChainSummary(
        n=len(completed),
        mean=float(np.mean(completed)),
        ci95=mean_interval(completed),
        at_least=tuple((count, wilson_interval(count, len(completed))) for count in counts),
    )
