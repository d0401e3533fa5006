import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from test.evaluation.episodes import episode, sim_config
from test.evaluation.test_processes import is_running
from vla_ros.evaluation.plan import BRIDGE
from vla_ros.evaluation.processes import Exited
from vla_ros.evaluation.runner import HoldWait, supervise, wrong_bundle
from vla_ros.sim.episode import read_results

NODE = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
DYING = "import time; time.sleep(0.3); print('[ERROR] engine: out of memory', flush=True); raise SystemExit(3)"


def bridge(output: Path, *lines: str, end: str = "") -> list[str]:
    """A bridge that writes these episodes and ends."""
    code = f"open({str(output / 'episodes.jsonl')!r}, 'w').write({''.join(f'{x}{chr(10)}' for x in lines)!r}); {end}"
    return [sys.executable, "-c", code]


def line(**changes: object) -> str:
    return json.dumps(asdict(episode(**changes)))


def run(output: Path, bridge_command: list[str], policy: str = NODE, gate: str = NODE, hold_s: float = 30.0) -> str:
    commands = {
        "policy_node": [sys.executable, "-c", policy],
        "command_gate": [sys.executable, "-c", gate],
        BRIDGE: bridge_command,
    }
    return supervise(commands, os.environ, sim_config(), output, hold_s)


def left_over(output: Path) -> list[int]:
    """Process ids that the fake nodes wrote and that still run."""
    words = [word for log in (output / "logs").glob("*.log") for word in log.read_text().split()]
    return [int(word) for word in words if word.isdigit() and is_running(int(word))]


def test_a_finished_bridge_ends_the_run_and_all_processes(tmp_path: Path) -> None:
    assert run(tmp_path, bridge(tmp_path, line(), line(initial_state=1, outcome="timeout"))) == ""
    assert left_over(tmp_path) == []


def test_a_dying_policy_ends_the_run_and_its_log_is_named(tmp_path: Path) -> None:
    failure = run(tmp_path, bridge(tmp_path, end="import time; time.sleep(60)"), policy=DYING)
    log = tmp_path / "logs" / "policy_node.log"
    assert failure == f"policy_node: ended with exit code 3: [ERROR] engine: out of memory (log: {log})"
    assert left_over(tmp_path) == []


def test_the_dead_policy_is_the_cause_and_not_the_hold_that_follows(tmp_path: Path) -> None:
    end = "import time; time.sleep(1); raise SystemExit(1)"
    failure = run(
        tmp_path, bridge(tmp_path, line(outcome="held", reason="no chunk"), end=end), policy="raise SystemExit(3)"
    )
    assert failure.startswith("policy_node: ended with exit code 3")


def bridge_that_is_held(output: Path, after_s: float) -> list[str]:
    """A bridge within an episode that it records as held after a while."""
    code = (
        "import pathlib, time\n"
        f'pathlib.Path({str(output / "progress.json")!r}).write_text(\'{{"episode": 1, "step": 3}}\')\n'
        f"time.sleep({after_s})\n"
        f"pathlib.Path({str(output / 'episodes.jsonl')!r}).write_text({line(outcome='held') + chr(10)!r})\n"
        "time.sleep(60)\n"
    )
    return [sys.executable, "-c", code]


def test_the_episode_that_a_dying_policy_leaves_is_recorded_as_held(tmp_path: Path) -> None:
    failure = run(tmp_path, bridge_that_is_held(tmp_path, 2.0), policy=DYING)
    assert failure.startswith("policy_node: ended with exit code 3")
    assert [result.outcome for result in read_results(tmp_path / "episodes.jsonl")] == ["held"]
    assert left_over(tmp_path) == []


def test_a_bridge_that_is_never_held_is_not_waited_for_longer_than_the_limit(tmp_path: Path) -> None:
    started = time.monotonic()
    failure = run(tmp_path, bridge_that_is_held(tmp_path, 60.0), policy=DYING, hold_s=1.0)
    assert failure.startswith("policy_node: ended with exit code 3")
    assert time.monotonic() - started < 20


def test_only_a_policy_that_died_alone_is_given_the_time_of_a_hold(tmp_path: Path) -> None:
    policy, gate = Exited("policy_node", -9, tmp_path / "p.log"), Exited("command_gate", 1, tmp_path / "g.log")
    clock = iter([100.0, 100.0, 109.9, 110.0])
    hold = HoldWait(10.0, lambda: next(clock))
    assert not hold.goes_on([], [])
    assert not hold.goes_on([policy, gate], [])
    assert not hold.goes_on([policy], [episode(outcome="held")])
    assert [hold.goes_on([policy], []) for _ in range(3)] == [True, True, False]


def test_a_dying_gate_ends_the_run_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    assert run(tmp_path, bridge_that_is_held(tmp_path, 60.0), gate=DYING).startswith("command_gate: ended with")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("outcome", ["held", "no_command"])
def test_a_held_episode_ends_the_run_with_its_reason(tmp_path: Path, outcome: str) -> None:
    failure = run(tmp_path, bridge(tmp_path, line(outcome=outcome, reason="chunk: none for 5.0 s")))
    assert failure.startswith(f"task 0, initial state 0: {outcome}: chunk: none for 5.0 s")
    assert left_over(tmp_path) == []


def test_a_bridge_that_ends_too_early_is_a_failure(tmp_path: Path) -> None:
    assert run(tmp_path, bridge(tmp_path, line())).startswith(f"{BRIDGE}: ended with exit code 0")


def test_a_missing_program_stops_what_was_started(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run(tmp_path, [str(tmp_path / "no-such-python")])
    assert left_over(tmp_path) == []


def test_figures_of_another_bundle_than_planned_are_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "policy_node.log"
    log.write_text(f"[INFO] policy tiny, bundle sha256 {'a' * 64}\n")
    assert wrong_bundle(log, "a" * 64) == ""
    assert wrong_bundle(log, "b" * 64).startswith(f"policy_node: expected bundle sha256 {'b' * 64}, got {'a' * 64}")
    log.write_text("")
    assert "got no report of it" in wrong_bundle(log, "a" * 64)
