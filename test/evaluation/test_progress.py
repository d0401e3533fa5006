import dataclasses
import json
from pathlib import Path

import pytest

from test.evaluation.episodes import episode
from vla_ros.evaluation.progress import Current, ProgressBar, StallGuard, duration, read_progress


def test_a_run_that_moves_is_never_stopped_however_slow_its_policy_is() -> None:
    """Its steps are counted, so that it ends by itself."""
    guard = StallGuard(30.0, now_s=0.0)
    assert all(guard.verdict(step, now_s=float(step)) == "" for step in range(0, 100_000, 100))


def test_a_run_that_never_starts_or_stands_still_is_stopped() -> None:
    guard = StallGuard(30.0, now_s=0.0)
    assert guard.verdict("start", now_s=899.0) == ""
    guard = StallGuard(30.0, now_s=0.0)
    guard.verdict("start", now_s=0.0)
    assert guard.verdict("start", now_s=901.0) == "no progress for 900 s"
    guard = StallGuard(30.0, now_s=0.0)
    guard.verdict("start", now_s=0.0)
    guard.verdict("step 1", now_s=10.0)
    assert guard.verdict("step 1", now_s=159.0) == ""
    assert guard.verdict("step 1", now_s=161.0) == "no progress for 150 s"


CURRENT = Current(task_index=0, initial_state=1, task="soup", instruction="pick up the soup", step=70, max_steps=280)


def test_half_written_progress_is_no_progress(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    assert read_progress(path) is None
    path.write_text('{"step": 1')
    assert read_progress(path) is None
    path.write_text(json.dumps({**dataclasses.asdict(CURRENT), "gate": "RUN"}))
    assert read_progress(path) == CURRENT
    assert CURRENT.key == (0, 1)
    assert CURRENT.share == 0.25


def test_each_finished_episode_leaves_one_line_with_the_running_success_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 60.0, 130.0])
    monkeypatch.setattr("vla_ros.evaluation.progress.time.monotonic", lambda: next(clock))
    with ProgressBar(3) as bar:
        bar.update([], [CURRENT])
        bar.update([episode()], [CURRENT, None])
        bar.update([episode(), episode(initial_state=1, outcome="held", reason="no chunk")], [])
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "episode 1/3: success after 100 steps, 12 s, reaction p50 20.0 ms; task 0, initial state 0; "
        "1 of 1 successful, 2 min left",
        "episode 2/3: held (no chunk) after 100 steps, 12 s, reaction p50 20.0 ms; task 0, initial state 1; "
        "1 of 2 successful, 65 s left",
    ]


def test_what_an_earlier_run_has_done_is_counted_but_not_told_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0])
    monkeypatch.setattr("vla_ros.evaluation.progress.time.monotonic", lambda: next(clock))
    earlier = [episode(), episode(initial_state=1)]
    with ProgressBar(4, done=2) as bar:
        bar.update(earlier, [])
        bar.update([*earlier, episode(initial_state=2, outcome="timeout")], [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("episode 3/4: timeout")
    assert line.endswith("2 of 3 successful, 10 s left")


def test_durations_are_for_people() -> None:
    assert [duration(seconds) for seconds in (12.4, 89, 120, 5000, 7200)] == [
        "12 s",
        "89 s",
        "2 min",
        "83 min",
        "2.0 h",
    ]
