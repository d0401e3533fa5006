"""What was run, with what, and what came out of it: everything that table, JSON and report are made from."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros.evaluation.statistics import LatencySummary, TaskSummary, summarize, summarize_latency, summarize_task
from vla_ros.sim.episode import EpisodeResult, SimConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What someone needs to repeat the evaluation.

    Attributes:
        bundle, bundle_sha256: the policy folder, and the hash of its manifest, which holds the hash of every file.
        mode: `lockstep` (the world waits for the policy) or `real_time`.
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
        results: the finished episodes.
        failure: why it was broken off; empty when every episode was run.
        wall_s: duration with the start of all processes [s].
    """

    config: SimConfig
    output: Path
    provenance: Provenance
    results: tuple[EpisodeResult, ...]
    failure: str
    wall_s: float

    @property
    def expected_episodes(self) -> int:
        """Episodes asked for."""
        return len(self.config.tasks) * self.config.episodes_per_task

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


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """One object of plain values; the names are a promise to those who read it by program."""
    provenance = evaluation.provenance
    return {
        "tasks": [_task(summary) for summary in evaluation.tasks],
        "bundle": provenance.bundle,
        "bundle_sha256": provenance.bundle_sha256,
        "simulator": evaluation.config.simulator,
        "suite": evaluation.config.suite,
        "mode": provenance.mode,
        "seed": evaluation.config.seed,
        "is_complete": not evaluation.failure,
        "failure": evaluation.failure,
        "reaction_ms": _latency(evaluation.reaction),
        "episodes": [dataclasses.asdict(result) for result in evaluation.results],
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
        "outcomes": summary.outcomes,
        "initial_states": list(summary.initial_states),
    }


def _latency(summary: LatencySummary | None) -> dict[str, float] | None:
    if summary is None:
        return None
    return {"count": summary.count, "p50": summary.p50_ms, "p99": summary.p99_ms, "max": summary.max_ms}
