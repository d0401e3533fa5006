"""One group of policy_node, command_gate and bridge: watched, and given a new simulator when that one dies."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vla_ros.errors import SimulatorError
from vla_ros.evaluation.plan import BRIDGE, EPISODES, POLICY_NODE, PROGRESS
from vla_ros.evaluation.processes import Exited, Processes, last_error_line
from vla_ros.evaluation.progress import Current, StallGuard, read_progress
from vla_ros.evaluation.resume import BROKEN_OUTCOMES, RESULTS
from vla_ros.sim.episode import EpisodeKey, EpisodeResult, append_result, read_results

MAX_FAILURES = 3
"""Episodes in a row that a simulator may fail before it is given up."""
MISCONFIGURED, INTERRUPTED = 2, 130
"""Exit codes of a bridge that is not to be started again."""


@dataclass(slots=True)
class Worker:
    """One group of processes and its share of the episodes.

    Attributes:
        name: unique among the workers; its folder's, and the beginning of its processes' names.
        episodes: its share.
        commands: process name to command line, in the order of starting.
        environment: of the processes, with a ROS domain of their own.
        output: folder of the results.
        answer_timeout_s, hold_s: how long a bridge waits for a command, and an episode for its end once policy_node has
            died [s].
    """

    name: str
    episodes: Sequence[EpisodeKey]
    commands: Mapping[str, list[str]]
    environment: Mapping[str, str]
    output: Path
    answer_timeout_s: float
    hold_s: float
    current: Current | None = field(default=None, init=False)
    is_finished: bool = field(default=False, init=False)
    _guard: StallGuard = field(init=False)
    _hold: "HoldWait" = field(init=False)
    _failures: int = field(default=0, init=False)
    _others: int = field(default=0, init=False)

    @property
    def folder(self) -> Path:
        """Of its logs, progress and share."""
        return self.output / "workers" / self.name

    def start(self, processes: Processes) -> None:
        """Start all three."""
        self._hold = HoldWait(self.hold_s)
        for name in self.commands:
            if name != BRIDGE:
                processes.start(self._process(name), self.commands[name], self.environment)
        self._start_bridge(processes, self.episodes)

    def stop(self, processes: Processes) -> None:
        """Stop all three: what has no more to do needs no memory."""
        processes.stop(*map(self._process, self.commands))

    def _process(self, name: str) -> str:
        return f"{self.name}/{name}"

    def _start_bridge(self, processes: Processes, episodes: Sequence[EpisodeKey]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / PROGRESS).unlink(missing_ok=True)
        (self.folder / EPISODES).write_text(json.dumps(episodes), encoding="utf-8")
        self._guard = StallGuard(self.answer_timeout_s)
        processes.start(self._process(BRIDGE), self.commands[BRIDGE], self.environment)

    def poll(self, processes: Processes, all_exited: Sequence[Exited], all_results: Sequence[EpisodeResult]) -> str:
        """Look after the group; why the run must be broken off, or empty.

        Raises:
            SimulatorError: the bridge refuses to begin with this configuration.

        Args:
            processes: of all workers.
            all_exited: those that have ended; asked before the results, so that what they wrote is among those.
            all_results: of all workers.
        """
        exited = {
            process.name.removeprefix(f"{self.name}/"): process
            for process in all_exited
            if process.name.startswith(f"{self.name}/")
        }
        results = self._own(all_results)
        self.current = read_progress(self.folder / PROGRESS)
        bridge = exited.pop(BRIDGE, None)
        failure = self._failure(exited, results)
        if failure:
            is_to_be_held = self.current is not None and bridge is None and list(exited) == [POLICY_NODE]
            return "" if is_to_be_held and self._hold.goes_on() and not _broken(results) else failure
        if bridge is not None and bridge.code == 0 and len(results) == len(self.episodes):
            self.is_finished = True
            return ""
        if bridge is not None:
            return self._replace_simulator(processes, str(bridge), bridge.code)
        stalled = self._guard.verdict((len(results), self.current))
        if stalled:
            log = processes.log(self._process(BRIDGE))
            reason = f"{BRIDGE}: {stalled}: {last_error_line(log)} (log: {log})"
            return self._replace_simulator(processes, reason, None)
        return ""

    def _own(self, results: Iterable[EpisodeResult]) -> list[EpisodeResult]:
        """Those of its share."""
        share = set(self.episodes)
        return [result for result in results if result.key in share]

    def _failure(self, others: Mapping[str, Exited], results: list[EpisodeResult]) -> str:
        """The first cause: a dead policy or gate, then what the bridge reports."""
        for process in others.values():
            return str(process)
        for result in _broken(results):
            where = f"task {result.task_index}, initial state {result.initial_state}"
            return f"{where}: {result.outcome}: {result.reason} (logs: {self.folder})"
        return ""

    def _replace_simulator(self, processes: Processes, reason: str, code: int | None) -> str:
        """Count the episode at hand as the simulator's failure and start a new bridge for the rest.

        Raises:
            SimulatorError: the bridge refuses to begin with this configuration.
        """
        log = processes.log(self._process(BRIDGE))
        processes.stop(self._process(BRIDGE))
        if code == MISCONFIGURED and self.current is None:
            raise SimulatorError(f"{last_error_line(log)} (log: {log})")
        if code in (0, MISCONFIGURED, INTERRUPTED) or self.current is None:
            return reason
        # once more: a bridge that was stopped may have ended its episode just before
        results = self._own(read_results(self.output / RESULTS))
        done = {result.key for result in results}
        if self.current.key not in done:
            append_result(self.output / RESULTS, failed_by_simulator(self.current, reason))
            done.add(self.current.key)
        left = [key for key in self.episodes if key not in done]
        if not left:
            self.is_finished = True
            return ""
        others = sum(result.outcome != "simulator_failed" for result in results)
        self._failures = self._failures + 1 if others == self._others else 1
        self._others = others
        if self._failures >= MAX_FAILURES:
            return f"the simulator failed {self._failures} episodes in a row, at last: {reason}"
        self._start_bridge(processes, left)
        return ""


def _broken(results: list[EpisodeResult]) -> list[EpisodeResult]:
    return [result for result in results if result.outcome in BROKEN_OUTCOMES]


class HoldWait:
    """The time that an episode is given to end as `held` once nothing but policy_node has died."""

    def __init__(self, hold_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """Wait for `hold_s` [s] after the death is first seen; `now_s` is monotonic [s]."""
        self._hold_s = hold_s
        self._now_s = now_s
        self._deadline_s: float | None = None

    def goes_on(self) -> bool:
        """Whether the episode's end is still to be waited for."""
        if self._deadline_s is None:
            self._deadline_s = self._now_s() + self._hold_s
        return self._now_s() < self._deadline_s


def failed_by_simulator(current: Current, reason: str) -> EpisodeResult:
    """The result of an episode in which the simulator's process died; what it did until then is not known."""
    return EpisodeResult(
        task_index=current.task_index,
        task=current.task,
        instruction=current.instruction,
        initial_state=current.initial_state,
        outcome="simulator_failed",
        reason=reason,
        steps=current.step,
        clamped_steps=0,
        reaction_ms=(),
        actions_sha256=hashlib.sha256().hexdigest(),
        video="",
        subtasks=(),
        wall_s=0.0,
    )
