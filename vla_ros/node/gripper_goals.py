"""Goals for a gripper's action server: never two at a time, never one that was asked for already."""

import time
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus

from vla_ros.node.gripper_output import differs

PATIENCE_NS = 1_000_000_000
"""For how long an answer or a cancelled goal's end is waited for, and a refused goal not sent again [ns]."""


class GripperGoals:
    """Keeps one goal with an action server: that for the newest opening, once the former goal has ended.

    The former goal is cancelled first, and its end is waited for: franka_gripper stops the hand when a goal is
    cancelled, and would stop the new goal's motion too.
    """

    def __init__(
        self,
        client: Any,
        make_goal: Callable[[float], Any],
        warn: Callable[[str], None],
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Make one for an rclpy ActionClient, or what is like it; `make_goal` turns an opening into a goal."""
        self._client = client
        self._make_goal = make_goal
        self._warn = warn
        self._steady_ns = steady_ns
        self.forget()

    def forget(self) -> None:
        """Of the server nothing is known any more: the next opening is a new goal."""
        self._reached_for: float | None = None  # the opening of the goal in force
        self._request: Any = None
        self._goal: Any = None
        self._result: Any = None
        self._since_ns = 0  # of the request, or of the cancelling
        self._is_cancelled = False
        self._refusal = ""

    @property
    def problem(self) -> str:
        """Why the gripper does not do what it should; empty if it does."""
        return self._refusal if self._client.server_is_ready() else "no server"

    def pursue(self, opening: float) -> None:
        """One tick: follow the goal on its way, and send one for this opening if there is none yet."""
        if not self._client.server_is_ready():
            self.forget()
            return
        self._follow()
        if not differs(opening, self._reached_for):
            return
        if self._request is not None or (self._refusal and not self._is_overdue()):
            return
        if self._result is not None and not (self._is_cancelled and self._is_overdue()):
            self._cancel()
            return
        self._ask(opening)

    def _ask(self, opening: float) -> None:
        refusal = self._refusal
        self.forget()
        self._refusal = refusal  # until a goal is accepted
        self._reached_for, self._since_ns = opening, self._steady_ns()
        self._request = self._client.send_goal_async(self._make_goal(opening))

    def _follow(self) -> None:
        if self._request is not None and self._request.done():
            goal, self._request = self._request.result(), None
            if goal.accepted:
                self._goal, self._result, self._refusal = goal, goal.get_result_async(), ""
            else:
                self._refuse("the goal was refused")
        elif self._request is not None and self._is_overdue():
            self._refuse("the goal was not answered")
        if self._result is not None and self._result.done():
            self._end(self._result.result())

    def _refuse(self, why: str) -> None:
        self._warn(why)
        self.forget()
        self._refusal, self._since_ns = why, self._steady_ns()

    def _end(self, response: Any) -> None:
        self._goal, self._result, self._is_cancelled = None, None, False
        # a gripper that stalls on an object has done what it should
        if response.status == GoalStatus.STATUS_ABORTED and not getattr(response.result, "stalled", False):
            self._warn(f"the goal was aborted: {response.result}")

    def _cancel(self) -> None:
        if not self._is_cancelled:
            self._goal.cancel_goal_async()
            self._is_cancelled, self._since_ns = True, self._steady_ns()
            self._reached_for = None  # even if it is wanted again before it has ended

    def _is_overdue(self) -> bool:
        return self._steady_ns() - self._since_ns > PATIENCE_NS
