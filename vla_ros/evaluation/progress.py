"""What the user sees while an evaluation runs, and whether it still moves."""

import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from vla_ros.evaluation.statistics import summarize_latency
from vla_ros.sim.episode import EpisodeResult, SimConfig


class ProgressBar:
    """Episodes done and successful, the current step and the time left; every finished episode leaves a line."""

    def __init__(self, episodes: int) -> None:
        # some terminals (docker, script) say that they are 0 x 0, and tqdm then shows nothing
        columns, rows = shutil.get_terminal_size((100, 24))
        self._bar = tqdm(
            total=episodes,
            ncols=columns - 1,
            nrows=rows,
            disable=not sys.stderr.isatty(),  # a pipe or a file gets only the lines
            leave=False,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed} < {remaining}{postfix}",
            desc="starting",
        )
        self._episodes = episodes
        self._shown = 0

    def update(self, results: Sequence[EpisodeResult], current: dict[str, int]) -> None:
        """Show the finished episodes, and `current`: the bridge's episode (from 1), step and max_steps."""
        for result in results[self._shown :]:
            self._shown += 1
            self._bar.write(_episode_line(self._shown, self._episodes, result), file=sys.stderr)
        successes = sum(result.is_success for result in results)
        # right after an episode `current` still tells of it
        is_running = current.get("episode") == len(results) + 1
        step, limit = (current.get("step", 0), current.get("max_steps", 0)) if is_running else (0, 0)
        share = min(step / limit, 1.0) if limit else 0.0
        self._bar.n = min(len(results) + share, self._episodes)
        if results or step:
            number = min(len(results) + 1, self._episodes)
            self._bar.set_description_str(f"episode {number}/{self._episodes}", refresh=False)
        self._bar.set_postfix_str(f"step {step}, {successes} of {len(results)} successful", refresh=False)
        self._bar.refresh()

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


def read_progress(path: Path) -> dict[str, int]:
    """The bridge's `progress.json`; empty while there is none or it is being written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in content.items() if isinstance(value, int)}


class StallGuard:
    """Says when an evaluation no longer moves, so that it never hangs.

    The bridge's own `answer_timeout_s` ends every wait for a command; this guard is for the bridge itself.
    """

    STARTUP_S = 300.0
    """Until the first step: imports, compilation caches and the first scene, on a busy machine."""
    RESET_S = 120.0
    """Between two steps: building another task's scene and its initial state."""
    EPISODE_S = 1800.0
    """For a whole episode: 300 steps, each with 5 s."""

    def __init__(self, config: SimConfig, now_s: float | None = None) -> None:
        """Start to watch at `now_s` [s, monotonic]."""
        now_s = time.monotonic() if now_s is None else now_s
        episodes = len(config.tasks) * config.episodes_per_task
        self._patience_s = config.answer_timeout_s + self.RESET_S
        self._deadline_s = now_s + self.STARTUP_S + episodes * self.EPISODE_S
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
        if now_s - self._changed_s > patience_s:
            return f"no progress for {patience_s:.0f} s"
        return f"expected to end before now: {self.EPISODE_S:.0f} s an episode" if now_s > self._deadline_s else ""
