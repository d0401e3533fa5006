"""Episodes of several subtasks: no reset in between, a new instruction each, over at the first failure."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from test.sim.fake_simulator import GOAL_M, PARTS, FakeSimulator
from vla_ros.action import Command
from vla_ros.sim.episode import EpisodeResult, append_result, read_results
from vla_ros.sim.lockstep import EpisodeRunner, Link, Reply, SimClock

STEP_M = 0.01
STEPS = round(GOAL_M / STEP_M)


class FakeLink:
    """Commands one step to the right, except while one of its instructions is refused or leads nowhere."""

    def __init__(self, refused: str = "", lazy: str = "") -> None:
        self.refused, self.lazy = refused, lazy
        self.instructions: list[str] = []
        self.asked: list[tuple[str, int, bool]] = []
        self.restarts = 0

    def restart(self) -> None:
        assert not self.instructions
        self.restarts += 1

    def instruct(self, text: str) -> str:
        self.instructions.append(text)
        return "not that" if text == self.refused else ""

    def ask(self, stamp_ns: int, image: NDArray[np.uint8] | None) -> Reply:
        self.asked.append((self.instructions[-1], stamp_ns, image is not None))
        # a little more than a step, so that rounding never decides
        delta = np.zeros(6) if self.instructions[-1] == self.lazy else np.array([STEP_M * 1.001, 0, 0, 0, 0, 0])
        return Reply(command=Command(delta=delta, gripper=0.0), gate_state="RUN", problem="", reaction_ms=1.0)


def run(link: Link, simulator: FakeSimulator, video: Any = None, told: str = "") -> EpisodeResult:
    runner = EpisodeRunner(
        simulator=simulator,
        link=link,
        clock=SimClock(0),
        observe_every_n_steps=4,
        video_every_n_steps=1,
        on_step=lambda step, state: None,
        told={0: told} if told else {},
    )
    return runner.run(simulator.tasks()[0], 0, 0, video, "")


def instructions(simulator: FakeSimulator) -> list[str]:
    return [subtask.instruction for subtask in simulator.subtasks(simulator.tasks()[0], 0)]


def test_an_episode_with_one_subtask_is_that_subtask() -> None:
    result = run(FakeLink(), FakeSimulator())
    (subtask,) = result.subtasks
    assert (subtask.outcome, subtask.steps, subtask.instruction) == ("success", result.steps, result.instruction)
    assert (result.outcome, result.completed_subtasks) == ("success", 1)


def test_the_gate_forgets_the_former_episode_before_the_next_one_begins() -> None:
    """Its gripper's votes too: else an episode would depend on which one was before, and so on the workers."""
    link = FakeLink()
    run(link, FakeSimulator(parts=PARTS))
    assert link.restarts == 1


def test_each_subtask_starts_where_the_last_one_ended_with_its_own_instruction_and_image() -> None:
    link, simulator = FakeLink(), FakeSimulator(parts=PARTS)
    result = run(link, simulator)
    assert (result.outcome, result.completed_subtasks) == ("success", PARTS)
    assert [subtask.steps for subtask in result.subtasks] == [STEPS] * PARTS
    assert link.instructions == instructions(simulator)
    assert simulator.pose[0] == pytest.approx(PARTS * STEPS * STEP_M * 1.001)
    stamps = [stamp for _, stamp, _ in link.asked]
    assert set(np.diff(stamps)) == {simulator.action_space.period_ns}  # no time was skipped
    for text in link.instructions:
        images = [has_image for asked, _, has_image in link.asked if asked == text]
        assert images == [step % 4 == 0 for step in range(STEPS)]


@pytest.mark.parametrize("failing", range(PARTS))
def test_a_chain_is_over_at_its_first_failure(failing: int) -> None:
    simulator = FakeSimulator(parts=PARTS)
    link = FakeLink(lazy=instructions(simulator)[failing])
    result = run(link, simulator)
    assert result.outcome == "timeout"
    assert not result.is_success
    assert result.completed_subtasks == failing
    done, left = ["success"] * failing, ["not_reached"] * (PARTS - failing - 1)
    assert [subtask.outcome for subtask in result.subtasks] == [*done, "timeout", *left]
    assert [subtask.steps for subtask in result.subtasks] == [STEPS] * failing + [40] + [0] * len(left)
    assert link.instructions == instructions(simulator)[: failing + 1]
    assert result.steps == sum(subtask.steps for subtask in result.subtasks)


def test_a_benchmark_that_counts_the_last_state_runs_to_its_limit() -> None:
    """There and on it goes: what was done at step 10 counts only if it still is at the last step."""
    kept, undone = FakeSimulator(), FakeSimulator()
    kept.ends_at_success = undone.ends_at_success = False
    undone.is_success = lambda: len(undone.commands) == STEPS  # type: ignore[method-assign]
    for simulator, outcome in ((kept, "success"), (undone, "timeout")):
        result = run(FakeLink(), simulator)
        assert (result.outcome, result.steps) == (outcome, simulator.max_steps)


def test_a_control_tells_the_policy_something_else_and_asks_for_the_same() -> None:
    link = FakeLink()
    result = run(link, FakeSimulator(), told="go away")
    assert link.instructions == ["go away"]
    assert result.instruction == "go to the right"
    assert [(subtask.instruction, subtask.outcome) for subtask in result.subtasks] == [("go away", "success")]


def test_a_refused_instruction_ends_the_chain_and_says_why() -> None:
    simulator = FakeSimulator(parts=PARTS)
    result = run(FakeLink(refused=instructions(simulator)[1]), simulator)
    assert (result.outcome, result.reason) == ("held", "not that")
    assert [subtask.outcome for subtask in result.subtasks] == ["success", "held", "not_reached"]


def test_the_video_names_the_subtask() -> None:
    class Film(list[list[str]]):
        def add(self, frame: NDArray[np.uint8], lines: list[str]) -> None:
            self.append(lines)

    simulator, film = FakeSimulator(parts=PARTS), Film()
    run(FakeLink(), simulator, film)
    first, last = instructions(simulator)[0], instructions(simulator)[-1]
    assert film[0][:2] == [first, "1 of 3, step 0 of 40: RUN"]
    assert film[STEPS][:2] == [first, f"1 of 3, step {STEPS}: success"]
    assert film[-1][:2] == [last, f"3 of 3, step {STEPS}: success"]


def test_a_line_of_json_holds_every_subtask(tmp_path: Path) -> None:
    simulator = FakeSimulator(parts=PARTS)
    result = run(FakeLink(lazy=instructions(simulator)[1]), simulator)
    append_result(tmp_path / "episodes.jsonl", result)
    (line,) = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert json.loads(line)["subtasks"] == [
        {"name": "part_0", "instruction": "go to the right", "outcome": "success", "steps": STEPS},
        {"name": "part_1", "instruction": "go to the right and on", "outcome": "timeout", "steps": 40},
        {"name": "part_2", "instruction": "go to the right and on and on", "outcome": "not_reached", "steps": 0},
    ]
    assert list(read_results(tmp_path / "episodes.jsonl")) == [result]
