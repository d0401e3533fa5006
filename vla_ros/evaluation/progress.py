"""What the user sees while an evaluation runs, and whether it still moves."""

import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from vla_ros.evaluation.statistics import summarize_latency
from vla_ros.sim.episode import EpisodeKey, EpisodeResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """What a bridge is at.

    Attributes:
        task_index, initial_state: which episode.
        task, instruction: of its task.
        step, max_steps: how far it is; max_steps is 0 until the episode has begun.
    """

    task_index: int
    initial_state: int
    task: str
    instruction: str
    step: int
    max_steps: int

    @property
    def key(self) -> EpisodeKey:
        """Which episode of the plan."""
        return self.task_index, self.initial_state

    @property
    def share(self) -> float:
        """How much of the episode is over, at least: 0 to 1."""
        return min(self.step / self.max_steps, 1.0) if self.max_steps else 0.0


class ProgressBar:
    """Episodes done and successful, the steps at hand and the time left; every finished episode leaves a line."""

    def __init__(self, episodes: int, done: int = 0) -> None:
        """Show `episodes`, of which an earlier run has `done` some."""
        # some terminals (docker, script) say that they are 0 x 0, and tqdm then shows nothing
        columns, rows = shutil.get_terminal_size((100, 24))
        self._bar = tqdm(
            total=episodes,
            initial=done,
            ncols=columns - 1,
            nrows=rows,
            disable=not sys.stderr.isatty(),  # a pipe or a file gets only the lines
            leave=False,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed} < {remaining}{postfix}",
            desc="starting",
        )
        self._episodes = episodes
        self._started_s = time.monotonic()
        self._first = self._shown = done

    def update(self, results: Sequence[EpisodeResult], current: Sequence[Current | None]) -> None:
        """Show the finished episodes, and `current`: what each worker's bridge is at, see `read_progress`."""
        for result in results[self._shown :]:
            self._shown += 1
            outlook = self._outlook(results[: self._shown])
            self._bar.write(f"{_episode_line(self._shown, self._episodes, result)}; {outlook}", file=sys.stderr)
        finished = {result.key for result in results}
        running = [each for each in current if each is not None and each.key not in finished]
        self._bar.n = min(len(results) + sum(each.share for each in running), self._episodes)
        if results or running:
            number = min(len(results) + 1, self._episodes)
            self._bar.set_description_str(f"episode {number}/{self._episodes}", refresh=False)
        successes = sum(result.is_success for result in results)
        steps = ", ".join(str(each.step) for each in running)
        self._bar.set_postfix_str(f"step {steps or 0}, {successes} of {len(results)} successful", refresh=False)
        self._bar.refresh()

    def _outlook(self, results: Sequence[EpisodeResult]) -> str:
        successes = sum(result.is_success for result in results)
        left, done = self._episodes - len(results), len(results) - self._first
        text = f"{successes} of {len(results)} successful"
        if not left or not done:
            return text
        left_s = (time.monotonic() - self._started_s) / done * left
        return f"{text}, {duration(left_s)} left"

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def _episode_line(number: int, episodes: int, result: EpisodeResult) -> str:
    latency = summarize_latency(result.reaction_ms)
    reaction = f", reaction p50 {latency.p50_ms:.1f} ms" if latency else ""
    reason = f" ({result.reason})" if result.reason else ""
    return (
        f"episode {number}/{episodes}: {result.outcome}{reason} after {result.steps} steps, {result.wall_s:.0f} s"
        f"{reaction}; task {result.task_index}, initial state {result.initial_state}"
    )


def duration(seconds: float) -> str:
    """For people: `40 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def read_progress(path: Path) -> Current | None:
    """The bridge's `progress.json`; None before its first episode."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Current(**{field.name: content[field.name] for field in dataclasses.fields(Current)})
    except (OSError, ValueError, KeyError):
        return None


class StallGuard:
    """Says when an evaluation no longer moves, so that it never hangs.

    The bridge's own `answer_timeout_s` ends every wait for a command; this guard is for the bridge itself.
    """

    STARTUP_S = 900.0
    """Until the first step: imports, a large policy and the first scene, on a busy machine."""
    RESET_S = 120.0
    """Between two steps: building another task's scene and its initial state."""

    def __init__(self, answer_timeout_s: float, now_s: float | None = None) -> None:
        """Start to watch at `now_s` [s, monotonic]."""
        now_s = time.monotonic() if now_s is None else now_s
        self._patience_s = answer_timeout_s + self.RESET_S
        self._changed_s = now_s
        self._state: object = None
        self._has_moved = False

    def verdict(self, state: object, now_s: float | None = None) -> str:
        """Empty while all is well; otherwise what is wrong. `state` changes with every step."""
        now_s = time.monotonic() if now_s is None else now_s
        if self._state is not None and state != self._state:
            self._has_moved = True
        if state != self._state:
            self._state, self._changed_s = state, now_s
        patience_s = self._patience_s if self._has_moved else max(self.STARTUP_S, self._patience_s)
        return f"no progress for {patience_s:.0f} s" if now_s - self._changed_s > patience_s else ""
