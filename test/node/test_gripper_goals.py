"""Goals for a gripper's action server, against a server that answers when the test says so."""

from types import SimpleNamespace
from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from rclpy.task import Future

from vla_ros.node.gripper_goals import PATIENCE_NS, GripperGoals


class Server:
    """An action server, and the client that rclpy would have of it."""

    def __init__(self) -> None:
        self.is_ready = True
        self.asked: list[float] = []
        self.requests: list[Future] = []
        self.results: list[Future] = []
        self.cancelled = 0

    def server_is_ready(self) -> bool:
        return self.is_ready

    def send_goal_async(self, goal: float) -> Future:
        self.asked.append(goal)
        self.requests.append(Future())
        return self.requests[-1]

    def answer(self, *, is_accepted: bool = True) -> None:
        self.results.append(Future())
        result = self.results[-1]
        goal = SimpleNamespace(
            accepted=is_accepted, get_result_async=lambda: result, cancel_goal_async=lambda: self.count_cancel()
        )
        self.requests[-1].set_result(goal)

    def count_cancel(self) -> None:
        self.cancelled += 1

    def finish(self, status: int = GoalStatus.STATUS_SUCCEEDED, **result: Any) -> None:
        self.results[-1].set_result(SimpleNamespace(status=status, result=SimpleNamespace(**result)))


class Bench:
    """Goals with a server and a clock."""

    def __init__(self) -> None:
        self.server = Server()
        self.now_ns = 0
        self.warnings: list[str] = []
        self.goals = GripperGoals(self.server, lambda opening: opening, self.warnings.append, lambda: self.now_ns)

    def tick(self, opening: float, times: int = 3) -> None:
        for _ in range(times):
            self.goals.pursue(opening)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_goal_is_sent_once_however_often_it_is_wanted(bench: Bench) -> None:
    bench.tick(1.0)
    bench.server.answer()
    bench.tick(1.0)
    bench.server.finish()
    bench.tick(1.0)
    assert bench.server.asked == [1.0]
    assert bench.server.cancelled == 0


def test_a_hair_of_difference_is_no_new_goal(bench: Bench) -> None:
    bench.tick(1.0)
    bench.tick(0.995)
    assert bench.server.asked == [1.0]


def test_another_opening_waits_for_the_end_of_the_former_goal(bench: Bench) -> None:
    bench.tick(1.0)
    bench.tick(0.0)
    assert bench.server.asked == [1.0]  # not even answered yet
    bench.server.answer()
    bench.tick(0.0)
    assert (bench.server.asked, bench.server.cancelled) == ([1.0], 1)
    bench.server.finish(GoalStatus.STATUS_CANCELED)
    bench.tick(0.0)
    assert bench.server.asked == [1.0, 0.0]


def test_a_goal_that_is_over_is_not_cancelled(bench: Bench) -> None:
    bench.tick(1.0)
    bench.server.answer()
    bench.server.finish()
    bench.tick(0.0)
    assert (bench.server.asked, bench.server.cancelled) == ([1.0, 0.0], 0)


def test_an_opening_that_comes_back_while_it_is_being_cancelled_is_sent_again(bench: Bench) -> None:
    bench.tick(1.0)
    bench.server.answer()
    bench.tick(0.0)
    bench.tick(1.0)
    bench.server.finish(GoalStatus.STATUS_CANCELED)
    bench.tick(1.0)
    assert bench.server.asked == [1.0, 1.0]  # the cancelled motion stopped half way


def test_a_cancelled_goal_that_never_ends_is_given_up(bench: Bench) -> None:
    bench.tick(1.0)
    bench.server.answer()
    bench.tick(0.0)
    bench.now_ns += PATIENCE_NS
    bench.tick(0.0)
    assert bench.server.asked == [1.0]
    bench.now_ns += 1
    bench.tick(0.0)
    assert bench.server.asked == [1.0, 0.0]


def test_a_refused_goal_is_a_problem_and_tried_again_after_a_while(bench: Bench) -> None:
    bench.tick(1.0)
    bench.server.answer(is_accepted=False)
    bench.tick(1.0)
    assert (bench.server.asked, bench.goals.problem) == ([1.0], "the goal was refused")
    bench.now_ns += PATIENCE_NS + 1
    bench.tick(1.0)
    assert bench.server.asked == [1.0, 1.0]
    assert bench.goals.problem == "the goal was refused"  # nothing is better yet
    bench.server.answer()
    bench.tick(1.0)
    assert bench.goals.problem == ""
    assert bench.warnings == ["the goal was refused"]


def test_a_goal_without_an_answer_is_a_problem(bench: Bench) -> None:
    bench.tick(1.0)
    bench.now_ns += PATIENCE_NS + 1
    bench.tick(1.0)
    assert bench.goals.problem == "the goal was not answered"


def test_a_server_that_comes_back_is_told_again(bench: Bench) -> None:
    bench.tick(0.0)
    bench.server.answer()
    bench.server.is_ready = False
    assert bench.goals.problem == "no server"
    bench.tick(0.0)
    bench.server.is_ready = True
    bench.tick(0.0)
    assert bench.server.asked == [0.0, 0.0]
    assert bench.goals.problem == ""


def test_nothing_is_sent_to_a_server_that_is_not_there(bench: Bench) -> None:
    bench.server.is_ready = False
    bench.tick(1.0)
    assert bench.server.asked == []


@pytest.mark.parametrize(("is_stalled", "count"), [(True, 0), (False, 1)])
def test_an_aborted_goal_is_told_of_unless_the_fingers_hold_something(
    bench: Bench, is_stalled: bool, count: int
) -> None:
    bench.tick(0.0)
    bench.server.answer()
    bench.server.finish(GoalStatus.STATUS_ABORTED, stalled=is_stalled, position=0.02)
    bench.tick(0.0)
    assert len(bench.warnings) == count
    assert bench.server.asked == [0.0]
