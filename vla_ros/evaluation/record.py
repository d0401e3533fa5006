"""What was run, with what, and what came out of it: everything that table, JSON and report are made from."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_ros.evaluation.statistics import (
    ChainSummary,
    LatencySummary,
    TaskSummary,
    summarize,
    summarize_chains,
    summarize_latency,
    summarize_task,
)
from vla_ros.sim.episode import EpisodeResult, SimConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What someone needs to repeat the evaluation.

    Attributes:
        bundle, bundle_sha256: the policy folder, and the hash of its manifest, which holds the hash of every file.
        mode: how the world waited for the policy, see `vla_ros.sim.episode.Mode`.
        configs: file name to text of the simulator, policy and robot files, as they were run.
        versions: package to version.
        machine: property to value.
        started: UTC, ISO 8601.
    """

    bundle: str
    bundle_sha256: str
    mode: str
    configs: dict[str, str]
    versions: dict[str, str]
    machine: dict[str, str | int | float]
    started: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One run of an evaluation, whole or broken off.

    Attributes:
        config: what was asked for.
        output: folder of `episodes.jsonl` and the videos.
        backbone: of the policy.
        chunk_size, execution_horizon: rows of the policy's chunks, and how many of them are executed.
        results: the finished episodes, in the order of the plan.
        failure: why it was broken off; empty when every episode was run.
        wall_s: duration with the start of all processes, of the last part of a continued evaluation [s].
        broken: episodes that broke an earlier part off, and were run again.
        gate_counts: what the gates counted, by name.
        selection: how the policy and the settings were chosen beforehand, on other initial states; empty if they were
            not.
    """

    config: SimConfig
    output: Path
    provenance: Provenance
    backbone: str
    chunk_size: int
    execution_horizon: int
    results: tuple[EpisodeResult, ...]
    failure: str
    wall_s: float
    broken: tuple[EpisodeResult, ...] = ()
    gate_counts: Mapping[str, int] = field(default_factory=dict)
    selection: tuple["Candidate", ...] = ()

    @property
    def expected_episodes(self) -> int:
        """Episodes asked for."""
        return len(self.config.episodes)

    @property
    def chains(self) -> ChainSummary | None:
        """Of a benchmark that asks for several things in a row; None elsewhere."""
        return summarize_chains(self.results)

    @property
    def score(self) -> float:
        """What is compared: completed subtasks per episode, which is the success rate where there is one each."""
        if self.chains is not None:
            return self.chains.mean
        return self.total.rate if self.total is not None else 0.0

    @property
    def tasks(self) -> tuple[TaskSummary, ...]:
        """One summary a task."""
        return summarize(self.results)

    @property
    def total(self) -> TaskSummary | None:
        """All episodes together; None where there are none."""
        return summarize_task(self.results, "all", "all tasks") if self.results else None

    @property
    def reaction(self) -> LatencySummary | None:
        """Reaction latency over all episodes."""
        return summarize_latency([value for result in self.results for value in result.reaction_ms])


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of those that a selection chose among.

    Attributes:
        name: what makes it different.
        n, successes: its episodes on the selection's initial states.
        score: that was compared, see `Evaluation.score`.
        ci95: Wilson interval of the success rate.
        is_chosen: whether it was tested.
    """

    name: str
    n: int
    successes: int
    score: float
    ci95: tuple[float, float]
    is_chosen: bool


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """One object of plain values; the names are a promise to those who read it by program."""
    provenance = evaluation.provenance
    return {
        "tasks": [_task(summary) for summary in evaluation.tasks],
        "bundle": provenance.bundle,
        "bundle_sha256": provenance.bundle_sha256,
        "backbone": evaluation.backbone,
        "simulator": evaluation.config.simulator,
        "suite": evaluation.config.suite,
        "mode": provenance.mode,
        "latency": evaluation.config.latency,
        "chunk_size": evaluation.chunk_size,
        "execution_horizon": evaluation.execution_horizon,
        "total": None if evaluation.total is None else _task(evaluation.total),
        "chains": _chains(evaluation.chains),
        "selection": [dataclasses.asdict(candidate) for candidate in evaluation.selection],
        "seed": evaluation.config.seed,
        "is_complete": not evaluation.failure,
        "failure": evaluation.failure,
        "reaction_ms": _latency(evaluation.reaction),
        "gate_counts": dict(evaluation.gate_counts),
        "episodes": [dataclasses.asdict(result) for result in evaluation.results],
        "episodes_run_again": [dataclasses.asdict(result) for result in evaluation.broken],
        "versions": provenance.versions,
        "machine": provenance.machine,
        "started": provenance.started,
        "wall_s": evaluation.wall_s,
    }


def _task(summary: TaskSummary) -> dict[str, Any]:
    return {
        "task": summary.task,
        "instruction": summary.instruction,
        "n": summary.n,
        "successes": summary.successes,
        "rate": summary.rate,
        "ci95": list(summary.ci95),
        "mean_steps": summary.mean_steps,
        "reaction_ms": _latency(summary.reaction),
        "latency_ms": _latency(summary.latency),
        "max_lag_ms": summary.max_lag_ms,
        "clamped_share": summary.clamped_share,
        "simulator_steps_per_s": summary.steps_per_s,
        "rendered": summary.rendered,
        "outcomes": summary.outcomes,
        "initial_states": list(summary.initial_states),
    }


def _chains(summary: ChainSummary | None) -> dict[str, Any] | None:
    if summary is None:
        return None
    return {
        "n": summary.n,
        "mean": summary.mean,
        "ci95": list(summary.ci95),
        "at_least": [
            {"subtasks": k, "successes": count, "rate": count / summary.n, "ci95": list(interval)}
            for k, (count, interval) in enumerate(summary.at_least, 1)
        ],
    }


def _latency(summary: LatencySummary | None) -> dict[str, float] | None:
    if summary is None:
        return None
    return {"count": summary.count, "p50": summary.p50_ms, "p99": summary.p99_ms, "max": summary.max_ms}
