"""Runs an evaluation: policy_node, command_gate and the simulator's bridge, in three processes over ROS 2."""

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from vla_ros.evaluation.domain import reserved_domain
from vla_ros.evaluation.plan import BRIDGE, POLICY_NODE, child_environment, prepare
from vla_ros.evaluation.processes import Exited, Processes, last_error_line
from vla_ros.evaluation.progress import ProgressBar, StallGuard, read_progress
from vla_ros.evaluation.record import Evaluation, to_json
from vla_ros.evaluation.report import write_report
from vla_ros.sim.episode import EpisodeResult, SimConfig, read_results

POLL_S = 0.2
BROKEN_OUTCOMES = ("held", "no_command")
HOLD_MARGIN_S = 5.0
"""How much longer than the gate's timeout the bridge may take to record an episode as held [s]."""


def evaluate(config: SimConfig, output: Path, bundle: Path | None = None) -> Evaluation:
    """Run all episodes and write `summary.json` and `report.html` beside the bridge's videos.

    An evaluation that breaks off still gives its finished episodes, with `failure` set; no process outlives this call.

    Raises:
        VlaRosError: as `plan.prepare`, before anything is started.
    """
    plan = prepare(config, output, bundle)
    started = time.monotonic()
    with reserved_domain() as domain:
        environment = child_environment(domain, plan.output / "logs")
        hold_s = plan.chunk_timeout_s + HOLD_MARGIN_S
        failure = supervise(plan.commands, environment, plan.config, plan.output, hold_s)
    failure = failure or wrong_bundle(plan.output / "logs" / f"{POLICY_NODE}.log", plan.provenance.bundle_sha256)
    evaluation = Evaluation(
        config=plan.config,
        output=plan.output,
        provenance=plan.provenance,
        results=tuple(read_results(plan.output / "episodes.jsonl")),
        failure=failure,
        wall_s=time.monotonic() - started,
    )
    (output / "summary.json").write_text(json.dumps(to_json(evaluation), indent=2) + "\n", encoding="utf-8")
    write_report(evaluation)
    return evaluation


def wrong_bundle(log: Path, sha256: str) -> str:
    """What is wrong unless policy_node itself reported the planned bundle: figures must not go to another policy."""
    found = re.findall(r"bundle sha256 ([0-9a-f]{64})", log.read_text(encoding="utf-8", errors="replace"))
    if set(found) == {sha256}:
        return ""
    return f"policy_node: expected bundle sha256 {sha256}, got {', '.join(found) or 'no report of it'} (log: {log})"


def supervise(
    commands: Mapping[str, list[str]], environment: Mapping[str, str], config: SimConfig, output: Path, hold_s: float
) -> str:
    """Start the processes and watch them until the bridge is done; returns why it broke off, or an empty string.

    When policy_node dies within an episode, the rest goes on for up to `hold_s` [s], until the gate holds the robot
    and the bridge has recorded that. All processes have ended when this returns or raises.
    """
    episodes = len(config.tasks) * config.episodes_per_task
    with Processes(output / "logs") as processes:
        for name, command in commands.items():
            processes.start(name, command, environment)
        guard = StallGuard(config)
        hold = HoldWait(hold_s)
        with ProgressBar(episodes) as bar:
            while True:
                exited = processes.exited()  # before the results: what a process wrote before it ended is then there
                results = list(read_results(output / "episodes.jsonl"))
                current = read_progress(output / "progress.json")
                bar.update(results, current)
                if any(process.name == BRIDGE and process.code == 0 for process in exited) and (
                    len(results) == episodes and not _broken(results)
                ):
                    return ""
                stalled = guard.verdict((len(results), tuple(sorted(current.items()))))
                failure = _failure(exited, results, stalled, processes.log(BRIDGE))
                if failure and not (current and hold.goes_on(exited, results)):
                    return failure
                time.sleep(POLL_S)


class HoldWait:
    """The time that an episode is given to end as `held` once nothing but policy_node has died."""

    def __init__(self, hold_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """Wait for `hold_s` [s] after the death is first seen; `now_s` is monotonic [s]."""
        self._hold_s = hold_s
        self._now_s = now_s
        self._deadline_s: float | None = None

    def goes_on(self, exited: list[Exited], results: list[EpisodeResult]) -> bool:
        """Whether the episode's end is still to be waited for."""
        if [process.name for process in exited] != [POLICY_NODE] or _broken(results):
            return False
        if self._deadline_s is None:
            self._deadline_s = self._now_s() + self._hold_s
        return self._now_s() < self._deadline_s


def _failure(exited: list[Exited], results: list[EpisodeResult], stalled: str, bridge_log: Path) -> str:
    """The first cause: a dead policy or gate, then what the bridge reports, then the bridge itself."""
    for process in exited:
        if process.name != BRIDGE:
            return str(process)
    for result in _broken(results):
        where = f"task {result.task_index}, initial state {result.initial_state}"
        return f"{where}: {result.outcome}: {result.reason} (logs: {bridge_log.parent})"
    if exited:
        return str(exited[0])
    if stalled:
        return f"{BRIDGE}: {stalled}: {last_error_line(bridge_log)} (log: {bridge_log})"
    return ""


def _broken(results: list[EpisodeResult]) -> list[EpisodeResult]:
    return [result for result in results if result.outcome in BROKEN_OUTCOMES]
