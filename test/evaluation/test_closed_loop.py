"""The whole thing: the policy that ships, real LIBERO and three processes on real ROS 2 topics."""

from pathlib import Path

import pytest

from vla_ros.cli import main
from vla_ros.sim.episode import EpisodeResult, read_results

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".venv/libero/bin/python").exists(), reason="no LIBERO: make setup-libero"),
]


def run(output: Path) -> EpisodeResult:
    assert main(["eval", "config/sim/libero_object.yaml", "--episodes", "1", "--output", str(output)]) == 0
    (result,) = read_results(output / "episodes.jsonl")
    return result


def test_the_shipped_policy_picks_up_the_soup_and_two_runs_execute_identical_actions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # paths in config/ are relative to the project
    first, second = run(tmp_path / "first"), run(tmp_path / "second")
    assert first.outcome == "success"
    assert first.clamped_steps == 0
    assert second.actions_sha256 == first.actions_sha256
    assert (tmp_path / "first" / first.video).stat().st_size > 0
    assert "<video" in (tmp_path / "first/report.html").read_text(encoding="utf-8")
