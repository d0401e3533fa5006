"""What is killed goes on, and only as what it was: real processes over ROS, a simulator without physics."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from test.evaluation.bundles import POLICY, ROBOT, write_bundle
from test.evaluation.episodes import episode, sim_config
from test.node.fleet import LIMIT_S, ROOT
from vla_ros.errors import ConfigError
from vla_ros.evaluation import resume
from vla_ros.evaluation.plan import Plan, Variant, config_text, prepare
from vla_ros.sim.episode import EpisodeResult, SimConfig, append_result, read_results

EPISODES = 12


def fake_config(**changes: object) -> SimConfig:
    values: dict[str, object] = {
        "suite": "fake_base",
        "tasks": (0, 1),
        "episodes_per_task": EPISODES,
        "camera_size_px": 32,
        "python": Path(sys.executable),
        "video_every_n_steps": 0,
    }
    return sim_config(**(values | changes))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text(f"{POLICY}    engine: ok\n")
    Path("robot.yaml").write_text(ROBOT)
    write_bundle(Path("models/tiny"), camera_px=32)
    Path("sim.yaml").write_text(config_text(fake_config()))
    return tmp_path


class Eval:
    """`vla-ros eval` as a process."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "test.evaluation.fake_eval", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> tuple[int, str]:
        """Exit code, and errors."""
        _, errors = self.process.communicate(timeout=3 * LIMIT_S)
        return self.process.returncode, errors


@pytest.fixture
def running() -> Iterator[list[Eval]]:
    evaluations: list[Eval] = []
    yield evaluations
    for evaluation in evaluations:
        evaluation.process.kill()
        evaluation.process.communicate()


def results() -> list[EpisodeResult]:
    return list(read_results(Path("out/episodes.jsonl")))


def wait_for_results(count: int) -> None:
    deadline = time.monotonic() + 2 * LIMIT_S
    while len(results()) < count:
        assert time.monotonic() < deadline, f"{len(results())} of {count} results"
        time.sleep(0.01)


def test_an_evaluation_killed_again_and_again_ends_with_every_episode_once(project: Path, running: list[Eval]) -> None:
    arguments = ("eval", "sim.yaml", "--output", "out", "--workers", "2")
    for kill in range(3):
        running.append(Eval(*arguments))
        wait_for_results(4 * (kill + 1))
        running[-1].process.send_signal(signal.SIGKILL)
        running[-1].process.wait(LIMIT_S)
    running.append(Eval(*arguments))
    code, errors = running[-1].wait()
    assert code == 0, errors
    counts = Counter(result.key for result in results())
    assert counts == dict.fromkeys(fake_config().episodes, 1)
    assert {result.outcome for result in results()} == {"success"}
    assert "Traceback" not in errors
    # the same actions as in one go, whoever ran an episode and whenever
    by_key = {result.key: result.actions_sha256 for result in results()}
    running.append(Eval("eval", "sim.yaml", "--output", "whole", "--workers", "1"))
    assert running[-1].wait()[0] == 0
    assert {r.key: r.actions_sha256 for r in read_results(Path("whole/episodes.jsonl"))} == by_key


def test_what_is_complete_is_only_reported_again(project: Path, running: list[Eval]) -> None:
    arguments = ("eval", "sim.yaml", "--output", "out", "--episodes", "1")
    for _ in range(2):
        running.append(Eval(*arguments))
        assert running[-1].wait()[0] == 0
    assert len(results()) == 2
    assert [path.name for path in Path("out/workers").iterdir()] == ["0"]


def test_another_evaluation_in_the_same_folder_is_refused_with_the_difference(
    project: Path, running: list[Eval]
) -> None:
    running.append(Eval("eval", "sim.yaml", "--output", "out", "--episodes", "1"))
    assert running[-1].wait()[0] == 0
    before = Path("out/episodes.jsonl").read_text()
    running.append(Eval("eval", "sim.yaml", "--output", "out", "--episodes", "1", "--execution-horizon", "4"))
    code, errors = running[-1].wait()
    assert code == 2
    assert errors == (
        "vla-ros eval: out: robot.yaml: execution_horizon: expected 8 as in its results, got 4; name a new folder\n"
    )
    assert Path("out/episodes.jsonl").read_text() == before


def test_a_simulator_killed_in_mid_episode_costs_that_episode_alone(project: Path, running: list[Eval]) -> None:
    running.append(Eval("eval", "sim.yaml", "--output", "out", "--workers", "1"))
    wait_for_results(3)
    bridge = bridges_of(running[-1].process.pid)
    os.kill(bridge[0], signal.SIGKILL)
    code, errors = running[-1].wait()
    assert code == 0, errors
    outcomes = Counter(result.outcome for result in results())
    assert outcomes["simulator_failed"] <= 1  # none where it was between two episodes
    assert sum(outcomes.values()) == 2 * EPISODES
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["total"]["n"] == 2 * EPISODES
    assert summary["total"]["successes"] == outcomes["success"]


def bridges_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"fake_simulator" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def plan(**changes: object) -> Plan:
    return prepare(fake_config(**changes), Path("out"))


def test_a_folder_in_use_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "CLAIM_S", 0.2)
    complaint = "expected a folder that no other evaluation"
    with resume.claimed(Path("out")), pytest.raises(ConfigError, match=complaint), resume.claimed(Path("out")):
        pass


def test_a_folder_of_something_else_is_refused(project: Path) -> None:
    Path("out").mkdir()
    Path("out/thesis.tex").touch()
    with pytest.raises(
        ConfigError, match=r"^out: expected a new or empty folder or an evaluation's, got one with thesis"
    ):
        resume.begin(plan())


def test_a_folder_without_any_result_may_be_planned_anew(project: Path) -> None:
    Path("out").mkdir()
    resume.begin(plan())
    begun = resume.begin(plan(episodes_per_task=3))
    assert resume.read_provenance(Path("out")) == begun.provenance


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"episodes_per_task": 3}, "config.yaml: episodes_per_task: expected 12 as in its results, got 3"),
        ({"mode": "real_time"}, r"config.yaml: mode: expected lockstep as in its results, got real_time \(and policy"),
        (
            {"mode": "latency", "latency": "300ms"},
            "config.yaml: mode: expected lockstep as in its results, got latency",
        ),
        ({"seed": 7}, "config.yaml: seed: expected 0 as in its results, got 7"),
    ],
)
def test_every_difference_is_named(project: Path, changes: dict[str, object], difference: str) -> None:
    Path("out").mkdir()
    resume.begin(plan())
    append_result(Path("out/episodes.jsonl"), episode())
    with pytest.raises(ConfigError, match=f"^out: {difference}"):
        resume.begin(plan(**changes))


def test_another_latency_is_another_evaluation(project: Path) -> None:
    Path("out").mkdir()
    resume.begin(plan(mode="latency", latency="100ms"))
    append_result(Path("out/episodes.jsonl"), episode())
    resume.begin(plan(mode="latency", latency="100ms"))
    with pytest.raises(ConfigError, match=r"^out: config.yaml: latency: expected 100ms as in its results, got 300ms;"):
        resume.begin(plan(mode="latency", latency="300ms"))


def test_measured_latencies_count_and_the_name_of_their_file_does_not(project: Path) -> None:
    Path("one.txt").write_text("100\n200\n")
    Path("two.txt").write_text("100\n200\n")
    one, two = (plan(mode="latency", latency=name).provenance for name in ("one.txt", "two.txt"))
    assert resume.differences(one, two) == []
    Path("two.txt").write_text("100\n300\n")
    changed = plan(mode="latency", latency="two.txt").provenance
    assert [name for name, _, _ in resume.differences(one, changed)] == ["latency.txt: content"]


def test_more_patience_is_no_other_evaluation_and_is_what_the_rest_is_run_with(project: Path) -> None:
    Path("out").mkdir()
    resume.begin(plan(answer_timeout_s=5.0))
    append_result(Path("out/episodes.jsonl"), episode())
    resume.begin(plan(answer_timeout_s=50.0))
    assert "answer_timeout_s: 50.0" in Path("out/config.yaml").read_text()


def test_a_file_is_no_output_folder(project: Path) -> None:
    Path("out").write_text("")
    refusal = "^out: expected a folder that can be written, got: File exists"
    with pytest.raises(ConfigError, match=refusal), resume.claimed(Path("out")):
        pass


def test_versions_processor_and_bundle_count_and_places_do_not(project: Path) -> None:
    first = plan().provenance
    assert resume.differences(first, prepare(fake_config(), Path("elsewhere")).provenance) == []
    write_bundle(Path("models/other"), camera_px=32)
    moved = prepare(fake_config(), Path("out"), Variant(bundle=Path("models/other"))).provenance
    assert resume.differences(first, moved) == []  # the same policy at another place
    other = replace(
        first, bundle_sha256="c" * 64, versions={**first.versions, "numpy": "1.0"}, machine={"processor": "another"}
    )
    assert [name for name, _, _ in resume.differences(first, other)] == [
        "bundle_sha256",
        "version of numpy",
        "processor",
    ]


def test_episodes_that_broke_a_run_off_are_run_again_and_kept_aside(project: Path) -> None:
    Path("out").mkdir()
    path = Path("out/episodes.jsonl")
    append_result(path, episode())
    append_result(path, episode(initial_state=1, outcome="held", reason="no chunk"))
    append_result(path, episode(initial_state=2, outcome="simulator_failed"))
    left = resume.remaining(plan())
    assert (0, 1) in left
    assert not {(0, 0), (0, 2)} & set(left)
    assert [result.initial_state for result in read_results(path)] == [0, 2]
    assert [result.outcome for result in read_results(Path("out/episodes.broken.jsonl"))] == ["held"]


def test_an_episode_with_two_results_is_an_error(project: Path) -> None:
    Path("out").mkdir()
    for _ in range(2):
        append_result(Path("out/episodes.jsonl"), episode())
    with pytest.raises(ConfigError, match=r"expected one result an episode, got two of \(0, 0\)"):
        resume.remaining(plan())


def test_half_a_line_is_cut_off_before_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    append_result(path, episode())
    with path.open("a") as file:
        file.write(json.dumps(asdict(episode(initial_state=1)))[:40])
    assert [result.initial_state for result in read_results(path)] == [0]
    append_result(path, episode(initial_state=2))
    assert [result.initial_state for result in read_results(path)] == [0, 2]


APPENDER = """
import sys
from pathlib import Path
from test.evaluation.episodes import episode
from vla_ros.sim.episode import append_result
for state in range(100):
    result = episode(task_index=int(sys.argv[2]), initial_state=state, reaction_ms=(1.0,) * 500)
    append_result(Path(sys.argv[1]), result)
"""


def test_writers_of_one_file_do_not_lose_or_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    commands = [[sys.executable, "-c", APPENDER, str(path), str(index)] for index in range(3)]
    writers = [subprocess.Popen(command, env=environment) for command in commands]
    assert [writer.wait(LIMIT_S) for writer in writers] == [0, 0, 0]
    keys = sorted(result.key for result in read_results(path))
    assert keys == [(task, state) for task in range(3) for state in range(100)]
