"""Three real processes over real topics: stub policy, gate, and the bridge with a fake simulator."""

import json
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from test.node.fleet import GATE, LIMIT_S, POLICY, SIM, Fleet
from test.sim.fake_simulator import NoVideo, make_simulator
from vla_ros.sim import bridge_node
from vla_ros.sim.episode import EpisodeResult, read_results


def run(fleet: Fleet, output: str = "run", **sim: object) -> tuple[int, list[EpisodeResult]]:
    folder = fleet.start_bridge(output, **sim)
    return fleet.wait("sim_bridge"), list(read_results(folder / "episodes.jsonl"))


def start_nodes(fleet: Fleet, engine: str = "ok") -> None:
    fleet.start_node("command_gate", GATE)
    fleet.start_node("policy_node", {**POLICY, "engine": engine})


def test_two_runs_execute_identical_actions(fleet: Fleet) -> None:
    runs = []
    for output in ("first", "second"):
        start_nodes(fleet)
        code, results = run(fleet, output)
        assert code == 0
        assert [fleet.interrupt(name) for name in ("policy_node", "command_gate")] == [0, 0]
        runs.append([(r.task_index, r.initial_state, r.outcome, r.steps, r.actions_sha256) for r in results])
    assert runs[0] == runs[1]
    assert [r[:3] for r in runs[0]] == [(t, s, "success") for t in (0, 1) for s in (0, 1)]
    assert len({r[4] for r in runs[0]}) == 4  # instruction and image both matter
    assert all(len(r.reaction_ms) == -(-r.steps // GATE["execution_horizon"]) for r in results)


def test_nodes_that_stay_serve_a_second_bridge_with_the_same_actions(fleet: Fleet) -> None:
    start_nodes(fleet)
    first, second = run(fleet, "first"), run(fleet, "second")
    assert [r.actions_sha256 for r in first[1]] == [r.actions_sha256 for r in second[1]]
    assert (first[0], second[0]) == (0, 0)


def test_a_policy_killed_in_mid_episode_holds_the_arm_and_everything_ends(fleet: Fleet) -> None:
    start_nodes(fleet)
    output = fleet.start_bridge(suite="endless_base", tasks=[0], episodes_per_task=1)
    wait_for_step(output, 20)
    fleet.interrupt("policy_node", signal.SIGKILL)
    assert fleet.wait("sim_bridge") == 1
    (result,) = read_results(output / "episodes.jsonl")
    assert result.outcome == "held"
    assert f"HOLD: no chunk for {GATE['chunk_timeout_s']:.2f} s" in result.reason
    assert result.steps > 20
    assert fleet.interrupt("command_gate") == 0


def test_a_gate_killed_in_mid_episode_is_no_command_and_everything_ends(fleet: Fleet) -> None:
    start_nodes(fleet)
    output = fleet.start_bridge(suite="endless_base", tasks=[0, 1], episodes_per_task=1, answer_timeout_s=2.0)
    wait_for_step(output, 20)
    fleet.interrupt("command_gate", signal.SIGKILL)
    assert fleet.wait("sim_bridge") == 1
    (result,) = read_results(output / "episodes.jsonl")
    assert result.outcome == "no_command"
    assert fleet.interrupt("policy_node") == 0


def test_a_gate_that_shuts_down_is_reported_at_once(fleet: Fleet) -> None:
    start_nodes(fleet)
    output = fleet.start_bridge(suite="endless_base", tasks=[0], episodes_per_task=1, answer_timeout_s=10 * LIMIT_S)
    wait_for_step(output, 20)
    assert fleet.interrupt("command_gate") == 0
    assert fleet.wait("sim_bridge") == 1
    (result,) = read_results(output / "episodes.jsonl")
    assert "INACTIVE: shut down" in result.reason


@pytest.mark.parametrize(
    ("engine", "sim", "reason"),
    [
        ("ok", {"camera_size_px": 64}, "image: width: expected 32 px (fake), got 64"),
        ("ok", {"tasks": [2]}, "instruction: text: expected an instruction, got an empty string"),
        ("wrong_frame", {}, "frame_id: expected 'base', got 'world'"),
        ("not_a_number", {}, "actions[3].z: expected a finite number, got nan"),
        ("raise", {}, "out of memory, says the stub"),
    ],
)
def test_what_is_refused_does_not_move_the_arm_and_says_why(
    fleet: Fleet,
    engine: str,
    sim: dict[str, object],
    reason: str,
) -> None:
    start_nodes(fleet, engine)
    code, (result,) = run(fleet, **{"tasks": [0], "episodes_per_task": 1, **sim})
    assert (code, result.outcome) == (1, "held")
    assert reason in result.reason
    assert "fake simulator: 0 motions" in fleet.text("sim_bridge")


def test_missing_nodes_are_named(fleet: Fleet) -> None:
    (fleet.folder / "command_gate.yaml").write_text(json.dumps({"/**/command_gate": {"ros__parameters": GATE}}))
    (fleet.folder / "sim.yaml").write_text(json.dumps(SIM))
    fleet.start("sim_bridge", "--config", "sim.yaml", "--output", "run", "--connect-timeout-s", "0.5")
    assert fleet.wait("sim_bridge") == 2
    assert "after 0.5 s still expected policy_node, active; command_gate, active; " in fleet.text("sim_bridge")


def test_an_interrupted_bridge_ends_cleanly(fleet: Fleet) -> None:
    start_nodes(fleet)
    output = fleet.start_bridge(suite="endless_base")
    wait_for_step(output, 20)
    assert fleet.interrupt("sim_bridge") == 130
    assert "Traceback" not in fleet.text("sim_bridge")


@pytest.mark.parametrize(
    ("sim", "robot", "line"),
    [
        ({"suite": "fake_world"}, {}, "libero: frame_id: expected 'base' as in command_gate.yaml, got 'world'"),
        (
            {},
            {"control_rate_hz": 30.0, "command_rate_hz": 30.0},
            "control_rate_hz: expected 30.0 as in command_gate.yaml, got 20.0",
        ),
        ({}, {"rotation": "euler_xyz"}, "rotation: expected 'euler_xyz' as in command_gate.yaml, got 'axis_angle'"),
        ({}, {"lockstep": False}, "command_gate.yaml: command_gate.lockstep: expected true for a simulator, got false"),
        ({}, {"speed": 1.0}, "speed: expected one of cpu_affinity, thread_priority,"),
        ({"tasks": [7]}, {}, "fake_base: tasks: expected indices 0 to 2, got 7"),
        ({"first_initial_state": 49}, {}, "task 0: expected initial states up to 49, got 50"),
        ({"tasks": [0, 1, 0]}, {}, "tasks: expected each at most once, got [0, 1, 0]"),
        (
            {"suite": "broken_base"},
            {},
            "task_0: expected a world that opens and is drawn, got AttributeError: no OpenGL; `make setup-libero`",
        ),
        ({"told_task_offset": 2}, {}, "told_task_offset: expected less than the 2 of tasks, got 2"),
        (
            {"simulator": "simpler", "moved_target_m": 0.05},
            {},
            "moved_target_m: expected 0 in simpler, got 0.05",
        ),
        ({"moved_target_m": -0.05}, {}, "moved_target_m: expected >= 0, got -0.05"),
        ({"episodes": 1}, {}, "sim.yaml: episodes: expected one of simulator, suite,"),
        ({"robot": "missing.yaml"}, {}, "missing.yaml: expected a readable parameter file, got No such file"),
    ],
)
def test_a_mistake_is_one_line_before_anything_moves(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sim: dict[str, object],
    robot: dict[str, object],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)  # this process is pytest's
    Path("command_gate.yaml").write_text(json.dumps({"/**/command_gate": {"ros__parameters": {**GATE, **robot}}}))
    Path("sim.yaml").write_text(json.dumps({**SIM, **sim}))
    arguments = ["--config", "sim.yaml", "--output", "run"]
    assert bridge_node.main(arguments, make_simulator=make_simulator, make_video=NoVideo) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("sim_bridge: error: ")
    assert line in error
    assert not Path("run").exists()


def wait_for_step(output: Path, step: int) -> None:
    """Return once the bridge has executed so many steps."""
    deadline = time.monotonic() + LIMIT_S
    progress = output / "progress.json"
    while not progress.exists() or json.loads(progress.read_text())["step"] < step:
        assert time.monotonic() < deadline, f"{progress}: step {step} was not reached"
        time.sleep(0.02)
