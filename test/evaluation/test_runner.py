import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from test.evaluation.episodes import episode
from test.evaluation.test_processes import is_running
from vla_ros.errors import ConfigError, SimulatorError
from vla_ros.evaluation.plan import BRIDGE
from vla_ros.evaluation.runner import local, shares, supervise, wrong_bundle
from vla_ros.evaluation.worker import MAX_FAILURES, HoldWait, Worker
from vla_ros.sim.episode import EpisodeKey, EpisodeResult, read_results

NODE = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
DYING = "import time; time.sleep(0.3); print('[ERROR] engine: out of memory', flush=True); raise SystemExit(3)"
SHARE: list[EpisodeKey] = [(0, 0), (0, 1)]

BRIDGE_PROGRAM = """
import json, os, pathlib, sys, time
output, folder = map(pathlib.Path, sys.argv[1:3])
line, dying = json.loads(sys.argv[3]), json.loads(sys.argv[4])
def progress(state):
    fields = {"task": line["task"], "instruction": line["instruction"], "task_index": 0, "initial_state": state}
    (folder / "progress.json").write_text(json.dumps({**fields, "step": 3, "max_steps": 10}))
def finish(state, **changes):
    with open(output / "episodes.jsonl", "a") as file:
        file.write(json.dumps({**line, "initial_state": state, **changes}) + chr(10))
for _, state in json.loads((folder / "episodes.json").read_text()):
    progress(state)
    if state in dying:
        print("Segmentation fault", flush=True)
        os.kill(os.getpid(), 9)
    finish(state)
"""


def line(**changes: object) -> str:
    return json.dumps(asdict(episode(**changes)))


def script(output: Path, *lines: str, end: str = "") -> list[str]:
    """A bridge that writes these episodes and ends."""
    code = f"open({str(output / 'episodes.jsonl')!r}, 'w').write({''.join(f'{x}{chr(10)}' for x in lines)!r}); {end}"
    return [sys.executable, "-c", code]


def worker(
    output: Path,
    bridge: list[str],
    policy: str = NODE,
    gate: str = NODE,
    hold_s: float = 30.0,
    name: str = "0",
    share: list[EpisodeKey] = SHARE,
) -> Worker:
    commands = {
        "policy_node": [sys.executable, "-c", policy],
        "command_gate": [sys.executable, "-c", gate],
        BRIDGE: bridge,
    }
    return Worker(
        name=name,
        episodes=share,
        commands=commands,
        environment=os.environ,
        output=output,
        answer_timeout_s=30.0,
        hold_s=hold_s,
    )


def run(output: Path, *workers: Worker) -> str:
    with (output / "lock").open("w") as lock:
        return supervise(workers, output, lambda results, current: None, lock.fileno())


def results_in(output: Path) -> list[EpisodeResult]:
    return list(read_results(output / "episodes.jsonl"))


def left_over(output: Path) -> list[int]:
    """Process ids that the fake nodes wrote and that still run."""
    words = [word for log in (output / "workers").rglob("*.log") for word in log.read_text().split()]
    return [int(word) for word in words if word.isdigit() and is_running(int(word))]


def bridge(output: Path, *dying: int, name: str = "0") -> list[str]:
    """A bridge that runs its share, and is killed by some of its initial states."""
    folder = output / "workers" / name
    arguments = [str(output), str(folder), line(), json.dumps(dying)]
    return [sys.executable, "-c", BRIDGE_PROGRAM, *arguments]


def test_a_finished_bridge_ends_the_run_and_all_processes(tmp_path: Path) -> None:
    assert run(tmp_path, worker(tmp_path, script(tmp_path, line(), line(initial_state=1, outcome="timeout")))) == ""
    assert left_over(tmp_path) == []


def test_a_dying_policy_ends_the_run_and_its_log_is_named(tmp_path: Path) -> None:
    failure = run(tmp_path, worker(tmp_path, script(tmp_path, end="import time; time.sleep(60)"), policy=DYING))
    log = tmp_path / "workers" / "0" / "policy_node.log"
    assert failure == f"policy_node: ended with exit code 3: [ERROR] engine: out of memory (log: {log})"
    assert left_over(tmp_path) == []


def test_the_dead_policy_is_the_cause_and_not_the_hold_that_follows(tmp_path: Path) -> None:
    end = "import time; time.sleep(1); raise SystemExit(1)"
    held = script(tmp_path, line(outcome="held", reason="no chunk"), end=end)
    assert run(tmp_path, worker(tmp_path, held, policy="raise SystemExit(3)")).startswith(
        "policy_node: ended with exit code 3"
    )


def bridge_that_is_held(output: Path, after_s: float) -> list[str]:
    """A bridge within an episode that it records as held after a while."""
    fields = {"task": "", "instruction": "", "task_index": 0, "initial_state": 0, "step": 3, "max_steps": 10}
    code = (
        "import pathlib, time\n"
        f"pathlib.Path({str(output / 'workers/0/progress.json')!r}).write_text({json.dumps(fields)!r})\n"
        f"time.sleep({after_s})\n"
        f"pathlib.Path({str(output / 'episodes.jsonl')!r}).write_text({line(outcome='held') + chr(10)!r})\n"
        "time.sleep(60)\n"
    )
    return [sys.executable, "-c", code]


def test_the_episode_that_a_dying_policy_leaves_is_recorded_as_held(tmp_path: Path) -> None:
    failure = run(tmp_path, worker(tmp_path, bridge_that_is_held(tmp_path, 2.0), policy=DYING))
    assert failure.startswith("policy_node: ended with exit code 3")
    assert [result.outcome for result in results_in(tmp_path)] == ["held"]
    assert left_over(tmp_path) == []


def test_a_bridge_that_is_never_held_is_not_waited_for_longer_than_the_limit(tmp_path: Path) -> None:
    started = time.monotonic()
    failure = run(tmp_path, worker(tmp_path, bridge_that_is_held(tmp_path, 60.0), policy=DYING, hold_s=1.0))
    assert failure.startswith("policy_node: ended with exit code 3")
    assert time.monotonic() - started < 50


def test_a_hold_is_waited_for_from_the_first_time_on_that_it_is_asked_about() -> None:
    clock = iter([100.0, 100.0, 109.9, 110.0])
    hold = HoldWait(10.0, lambda: next(clock))
    assert [hold.goes_on() for _ in range(3)] == [True, True, False]


def test_a_dying_gate_ends_the_run_at_once(tmp_path: Path) -> None:
    failure = run(tmp_path, worker(tmp_path, bridge_that_is_held(tmp_path, 60.0), gate=DYING))
    assert failure.startswith("command_gate: ended with")
    assert results_in(tmp_path) == []  # it was not waited for


@pytest.mark.parametrize("outcome", ["held", "no_command"])
def test_a_held_episode_ends_the_run_with_its_reason(tmp_path: Path, outcome: str) -> None:
    failure = run(tmp_path, worker(tmp_path, script(tmp_path, line(outcome=outcome, reason="chunk: none for 5.0 s"))))
    assert failure.startswith(f"task 0, initial state 0: {outcome}: chunk: none for 5.0 s")
    assert left_over(tmp_path) == []


def test_a_bridge_that_ends_too_early_is_a_failure(tmp_path: Path) -> None:
    assert run(tmp_path, worker(tmp_path, script(tmp_path, line()))).startswith(f"{BRIDGE}: ended with exit code 0")


def test_a_missing_program_stops_what_was_started(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run(tmp_path, worker(tmp_path, [str(tmp_path / "no-such-python")]))
    assert left_over(tmp_path) == []


def test_a_simulator_that_dies_is_restarted_and_its_episode_is_its_failure(tmp_path: Path) -> None:
    share: list[EpisodeKey] = [(0, state) for state in range(4)]
    assert run(tmp_path, worker(tmp_path, bridge(tmp_path, 1), share=share)) == ""
    results = results_in(tmp_path)
    assert [(result.initial_state, result.outcome) for result in results] == [
        (0, "success"),
        (1, "simulator_failed"),
        (2, "success"),
        (3, "success"),
    ]
    failed = results[1]
    assert not failed.is_success
    assert "ended with signal SIGKILL: Segmentation fault" in failed.reason
    assert (failed.task, failed.instruction) == ("pick_up_the_soup", "pick up the soup")
    assert {path.name for path in (tmp_path / "workers/0").glob("sim_bridge*")} == {
        "sim_bridge.log",
        "sim_bridge.2.log",
    }


def test_a_simulator_that_dies_in_its_last_episode_ends_the_run_with_nothing_left(tmp_path: Path) -> None:
    assert run(tmp_path, worker(tmp_path, bridge(tmp_path, 1))) == ""
    assert [result.outcome for result in results_in(tmp_path)] == ["success", "simulator_failed"]


def test_a_simulator_that_fails_again_and_again_is_given_up_and_nothing_is_dropped(tmp_path: Path) -> None:
    share: list[EpisodeKey] = [(0, state) for state in range(10)]
    failure = run(tmp_path, worker(tmp_path, bridge(tmp_path, 1, *range(3, 10)), share=share))
    assert failure.startswith(f"the simulator failed {MAX_FAILURES} episodes in a row")
    outcomes = [result.outcome for result in results_in(tmp_path)]
    assert outcomes == ["success", "simulator_failed", "success", *["simulator_failed"] * MAX_FAILURES]


def test_a_bridge_that_never_began_is_a_failure_and_not_an_episode(tmp_path: Path) -> None:
    failure = run(tmp_path, worker(tmp_path, [sys.executable, "-c", "raise SystemExit('error: no such suite')"]))
    assert failure.startswith(f"{BRIDGE}: ended with exit code 1: error: no such suite")
    assert results_in(tmp_path) == []


def test_a_bridge_that_refuses_its_configuration_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    code = "import sys; print('sim_bridge: error: fake: tasks: expected others'); sys.exit(2)"
    with pytest.raises(SimulatorError, match=r"^sim_bridge: error: fake: tasks: expected others \(log: "):
        run(tmp_path, worker(tmp_path, [sys.executable, "-c", code]))
    assert left_over(tmp_path) == []


def test_nobody_cannot_do_the_work() -> None:
    with pytest.raises(ConfigError, match="--workers: expected >= 1, got 0"):
        local(0)


def test_workers_share_the_episodes_and_none_runs_twice(tmp_path: Path) -> None:
    episodes: list[EpisodeKey] = [(0, state) for state in range(7)]
    first, second = shares(episodes, 2)
    assert (
        run(
            tmp_path,
            worker(tmp_path, bridge(tmp_path), share=list(first)),
            worker(tmp_path, bridge(tmp_path, 3, name="1"), share=list(second), name="1"),
        )
        == ""
    )
    results = results_in(tmp_path)
    assert sorted(result.key for result in results) == episodes
    assert [result.key for result in results if not result.is_success] == [(0, 3)]
    assert left_over(tmp_path) == []


def test_there_are_no_more_shares_than_episodes() -> None:
    assert shares([(0, 0), (0, 1), (0, 2)], 2) == [[(0, 0), (0, 2)], [(0, 1)]]
    assert shares([(0, 0)], 8) == [[(0, 0)]]


def test_figures_of_another_bundle_than_planned_are_a_failure(tmp_path: Path) -> None:
    one = worker(tmp_path, [])
    one.folder.mkdir(parents=True)
    log = one.folder / "policy_node.log"
    log.write_text(f"[INFO] policy tiny, bundle sha256 {'a' * 64}\n")
    assert wrong_bundle([one], "a" * 64) == ""
    assert wrong_bundle([one], "b" * 64).startswith(f"policy_node: expected bundle sha256 {'b' * 64}, got {'a' * 64}")
    log.write_text("")
    assert "got no report of it" in wrong_bundle([one], "a" * 64)
