from pathlib import Path

import pytest

from test.evaluation.episodes import episode, sim_config
from vla_ros.evaluation.progress import ProgressBar, StallGuard, read_progress


def test_a_run_that_moves_is_never_stopped_early() -> None:
    guard = StallGuard(sim_config(), now_s=0.0)
    assert all(guard.verdict(step, now_s=float(step)) == "" for step in range(0, 2000, 100))


def test_a_run_that_never_starts_or_stands_still_is_stopped() -> None:
    config = sim_config(answer_timeout_s=30.0)
    guard = StallGuard(config, now_s=0.0)
    assert guard.verdict("start", now_s=299.0) == ""
    guard = StallGuard(config, now_s=0.0)
    guard.verdict("start", now_s=0.0)
    assert guard.verdict("start", now_s=301.0) == "no progress for 300 s"
    guard = StallGuard(config, now_s=0.0)
    guard.verdict("start", now_s=0.0)
    guard.verdict("step 1", now_s=10.0)
    assert guard.verdict("step 1", now_s=159.0) == ""
    assert guard.verdict("step 1", now_s=161.0) == "no progress for 150 s"


def test_even_a_run_that_keeps_moving_has_an_end() -> None:
    guard = StallGuard(sim_config(episodes_per_task=2), now_s=0.0)
    for second in range(0, 3900, 100):
        assert guard.verdict(second, now_s=float(second)) == ""
    assert "expected to end" in guard.verdict("more", now_s=3901.0)


def test_half_written_progress_is_no_progress(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    assert read_progress(path) == {}
    path.write_text('{"step": 1')
    assert read_progress(path) == {}
    path.write_text('{"step": 12, "max_steps": 280, "state": "running"}')
    assert read_progress(path) == {"step": 12, "max_steps": 280}


def test_each_finished_episode_leaves_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(2) as bar:
        bar.update([], {"episode": 1, "step": 5, "max_steps": 10})
        bar.update([episode()], {})
        bar.update([episode(), episode(initial_state=1, outcome="held", reason="no chunk")], {})
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "episode 1/2: success after 100 steps, 12 s, reaction p50 20.0 ms; task 0, initial state 0",
        "episode 2/2: held (no chunk) after 100 steps, 12 s, reaction p50 20.0 ms; task 0, initial state 1",
    ]
