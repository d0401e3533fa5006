"""sim_eval.launch.py with real launch: it ends, with all nodes, when the simulator's bridge ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("launch_ros")
pytest.importorskip("launch_testing")

ROOT = Path(__file__).resolve().parents[2]
LIBERO = ROOT / ".venv/libero/bin/python"
LAUNCH = "import sys; from ros2cli.cli import main; sys.exit(main())"

pytestmark = pytest.mark.launch


def launch(*arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """`ros2 launch` in a session of its own, so that no signal of it reaches the tests."""
    command = [sys.executable, "-c", LAUNCH, "launch", str(ROOT / "launch/sim_eval.launch.py"), *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        start_new_session=True,
    )


def test_a_bridge_that_cannot_start_ends_everything(ros_domain: int, tmp_path: Path) -> None:
    ended = launch(f"output:={tmp_path / 'out'}", f"python:={sys.executable}", timeout_s=120)
    output = ended.stdout + ended.stderr
    assert "[sim_bridge-3]: process has died" in output, output
    assert not (tmp_path / "out/episodes.jsonl").exists()
    for node in ("policy_node-1", "command_gate-2"):
        assert f"[{node}]: process has finished cleanly" in output, output


@pytest.mark.slow
@pytest.mark.skipif(not LIBERO.exists(), reason="make setup-libero")
def test_an_episode_in_libero_runs_to_its_end(ros_domain: int, tmp_path: Path) -> None:
    ended = launch(f"output:={tmp_path / 'out'}", "episodes:=1", timeout_s=420)
    (line,) = (tmp_path / "out/episodes.jsonl").read_text().splitlines()
    assert json.loads(line)["outcome"] in ("success", "timeout")
    assert "[sim_bridge-3]: process has finished cleanly" in ended.stdout + ended.stderr
