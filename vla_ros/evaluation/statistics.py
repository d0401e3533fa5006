"""What a handful of episodes can and cannot tell: success rates with their interval, latencies with their tail."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vla_ros.sim.episode import EpisodeResult

Z_95 = 1.959963984540054
"""Standard normal quantile at 0.975."""


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a success rate (Wilson 1927; Newcombe 1998, method 3).

    It stays inside [0, 1] and keeps a width at 0 of n and n of n, where the usual normal interval claims certainty.

    Raises:
        ValueError: n < 1 or successes not in [0, n].
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes of n: expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    rate = successes / n
    shrink = 1.0 + Z_95**2 / n
    centre = (rate + Z_95**2 / (2 * n)) / shrink
    half = Z_95 / shrink * math.sqrt(rate * (1 - rate) / n + Z_95**2 / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half  # exact, where rounding would leave 1e-17
    high = 1.0 if successes == n else centre + half
    return low, high


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
        reaction: from an image's publication to the first command derived from it.
        initial_states: which of the benchmark's own.
    """

    task: str
    instruction: str
    n: int
    successes: int
    ci95: tuple[float, float]
    outcomes: dict[str, int]
    mean_steps: float
    reaction: LatencySummary | None
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
    return TaskSummary(
        ci95=wilson_interval(successes, len(episodes)),
        task=task or episodes[0].task,
        instruction=instruction or episodes[0].instruction,
        n=len(episodes),
        successes=successes,
        outcomes=dict(Counter(episode.outcome for episode in episodes)),
        mean_steps=sum(episode.steps for episode in episodes) / len(episodes),
        reaction=summarize_latency([value for episode in episodes for value in episode.reaction_ms]),
        initial_states=tuple(episode.initial_state for episode in episodes),
    )
