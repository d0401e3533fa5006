"""Latency in the loop, real time, the temporal ensemble and a simulator that fails: real processes over real topics."""

import pytest
import yaml

pytest.importorskip("rclpy")

from test.node.fleet import GATE, POLICY, SIM, Fleet
from vla_ros.sim.episode import EpisodeResult, read_results


def start_nodes(fleet: Fleet, lockstep: bool = True, **gate: object) -> None:
    fleet.start_node("command_gate", {**GATE, "lockstep": lockstep, **gate})
    fleet.start_node("policy_node", {**POLICY, "lockstep": lockstep})


def run(fleet: Fleet, output: str = "run", **sim: object) -> tuple[int, list[EpisodeResult]]:
    folder = fleet.start_bridge(output, **{"tasks": [0], "video_every_n_steps": 0, **sim})
    return fleet.wait("sim_bridge"), list(read_results(folder / "episodes.jsonl"))


def latency(fleet: Fleet, text: str, output: str, **sim: object) -> list[EpisodeResult]:
    code, results = run(fleet, output, mode="latency", latency=text, **sim)
    assert code == 0
    return results


def test_latency_in_the_loop_costs_steps_and_gives_equal_actions_for_equal_seeds(fleet: Fleet) -> None:
    start_nodes(fleet)
    quick, slow = latency(fleet, "0ms", "quick"), latency(fleet, "120ms", "slow")
    again, drawn = latency(fleet, "120ms", "again"), latency(fleet, "100/140ms", "drawn")
    assert [result.actions_sha256 for result in again] == [result.actions_sha256 for result in slow]
    assert [result.outcome for result in (*quick, *slow, *drawn)] == ["success"] * 6
    # three periods of 50 ms pass before the first chunk comes; then rows of the former one are there, which may be a
    # little shorter or longer
    assert all(3 <= late.steps - early.steps <= 4 for early, late in zip(quick, slow, strict=True))
    assert len(quick[0].latency_ms) == quick[0].rendered - 1 == quick[0].steps  # an image a step
    assert len(slow[0].latency_ms) == -(-slow[0].steps // 3)  # and one whenever the policy is free
    assert {*slow[0].latency_ms, *slow[1].latency_ms} == {120.0}
    assert len({*drawn[0].latency_ms, *drawn[1].latency_ms}) > 2


def test_without_any_latency_it_is_lockstep_with_one_executed_step(fleet: Fleet) -> None:
    start_nodes(fleet)
    quick = latency(fleet, "0ms", "quick")
    assert [fleet.interrupt(name) for name in ("policy_node", "command_gate")] == [0, 0]
    start_nodes(fleet, execution_horizon=1)
    one = run(fleet, "one")[1]
    assert [result.actions_sha256 for result in quick] == [result.actions_sha256 for result in one]


def test_an_episode_does_not_depend_on_those_before_it(fleet: Fleet) -> None:
    start_nodes(fleet)
    _, second = latency(fleet, "120ms", "both", episodes_per_task=2)
    (alone,) = latency(fleet, "120ms", "alone", first_initial_state=1, episodes_per_task=1)
    assert alone.actions_sha256 == second.actions_sha256


def test_a_policy_slower_than_its_chunks_last_moves_nothing_and_the_episode_goes_on_to_its_limit(fleet: Fleet) -> None:
    start_nodes(fleet)
    for result in latency(fleet, "400ms", "run"):
        assert (result.outcome, result.steps) == ("timeout", 40)
    assert "fake simulator: 0 motions" in fleet.text("sim_bridge")


def test_a_policy_that_fails_ends_an_episode_with_latency_too(fleet: Fleet) -> None:
    fleet.start_node("command_gate", GATE)
    fleet.start_node("policy_node", {**POLICY, "engine": "raise"})
    code, (result,) = run(fleet, mode="latency", latency="100ms", episodes_per_task=1)
    assert (code, result.outcome) == (1, "held")
    assert "out of memory, says the stub" in result.reason


def test_a_temporal_ensemble_waits_for_every_chunk_and_two_runs_execute_identical_actions(fleet: Fleet) -> None:
    start_nodes(fleet, overlap="temporal_ensemble")
    first, second = run(fleet, "first")[1], run(fleet, "second")[1]
    assert [result.actions_sha256 for result in first] == [result.actions_sha256 for result in second]
    assert all(len(result.reaction_ms) == result.steps for result in first)


def test_in_real_time_the_world_does_not_wait_and_the_policy_gets_there(fleet: Fleet) -> None:
    start_nodes(fleet, lockstep=False, chunk_timeout_s=5.0)
    code, results = run(fleet, mode="real_time", answer_timeout_s=60.0)
    assert code == 0
    assert [result.outcome for result in results] == ["success"] * 2
    for result in results:
        assert result.steps >= 19  # no faster than the policy's 5 mm a step
        assert result.reaction_ms
        assert min(result.reaction_ms) > 0
        assert result.wall_s >= result.steps / 20


def test_a_gate_of_the_other_kind_is_refused(fleet: Fleet) -> None:
    start_nodes(fleet)
    code, results = run(fleet, mode="real_time")
    assert (code, results) == (2, [])
    assert "command_gate.lockstep: expected false for a simulator in real time, got true" in fleet.text("sim_bridge")


def test_a_simulator_that_raises_fails_its_episode_and_asks_for_another_one(fleet: Fleet) -> None:
    start_nodes(fleet)
    code, results = run(fleet, suite="failing_base", tasks=[0], episodes_per_task=3)
    assert code == 3
    assert [result.outcome for result in results] == ["success", "simulator_failed"]
    assert results[1].reason == "step: RuntimeError: GL: out of memory"
    assert results[1].subtasks[0].outcome == "simulator_failed"
    assert results[1].steps > 0


def test_only_the_episodes_that_were_asked_for_are_run(fleet: Fleet) -> None:
    start_nodes(fleet)
    (fleet.folder / "only.json").write_text("[[1, 1], [0, 0]]")
    (fleet.folder / "sim.yaml").write_text(yaml.safe_dump(SIM))
    fleet.start("sim_bridge", "--config", "sim.yaml", "--output", "run", "--only", "only.json")
    assert fleet.wait("sim_bridge") == 0
    assert [result.key for result in read_results(fleet.folder / "run/episodes.jsonl")] == [(1, 1), (0, 0)]
    assert (fleet.folder / "run/gate.json").exists()


def test_an_unknown_task_lists_the_known_ones(fleet: Fleet) -> None:
    start_nodes(fleet)
    code, results = run(fleet, tasks=[7])
    assert (code, results) == (2, [])
    assert "got 7; there are 0 (task_0), 1 (task_1), 2 (task_2)" in fleet.text("sim_bridge")
