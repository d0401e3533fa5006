"""Faults of hazard tables, put into a running cell: each says how long the arm went on moving, and how long it may.

Times are differences of stamps that the gate gave its commands. Where a message must first reach a process that a busy
machine may keep waiting, its delivery has DELIVERY_NS beside the ticks.
"""

from collections.abc import Callable
from dataclasses import dataclass

from test.faults.running_cell import HOUR_NS, PERIOD_NS, RECEIVER_TIMEOUT_NS, ROWS, TIMEOUT_NS, RunningCell

DELIVERY_NS = 8 * PERIOD_NS
USED_UP_NS = TIMEOUT_NS + (ROWS + 2) * PERIOD_NS
"""An image as old as the timeout is the last one, its chunk's rows are the last ones, and two ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one fault did.

    Attributes:
        moved_ns: for how long after it the arm was still commanded to move [ns].
        bound_ns: for how long it may be [ns].
    """

    moved_ns: int
    bound_ns: int

    @property
    def is_good(self) -> bool:
        """Whether the stop came in time."""
        return self.moved_ns <= self.bound_ns


def kill_the_policy(cell: RunningCell) -> Outcome:
    count = len(cell.gate())
    killed_ns = cell.kill("policy_node")
    cell.until_state("HOLD", count)
    outcome = Outcome(moved_ns=cell.last_motion_after(killed_ns), bound_ns=USED_UP_NS)
    cell.start("policy_node")
    return outcome


def kill_the_gate(cell: RunningCell) -> Outcome:
    """The controller hears nothing more, and stops by itself; a new gate begins with zeros."""
    killed_ns = cell.kill("command_gate")
    cell.let_pass(2 * RECEIVER_TIMEOUT_NS)
    heard = cell.commands
    cell.let_pass(RECEIVER_TIMEOUT_NS)
    assert cell.commands == heard
    outcome = Outcome(moved_ns=cell.last_motion_after(killed_ns), bound_ns=RECEIVER_TIMEOUT_NS)
    motions = len(cell.motions)
    cell.start("command_gate")
    cell.probe.until(lambda: cell.commands > heard, "the new gate")
    assert len(cell.motions) == motions, "expected a zero first from a new gate"
    return outcome


def silence_the_camera(cell: RunningCell) -> Outcome:
    return _spoil(cell, USED_UP_NS, is_silent=True)


def freeze_the_camera(cell: RunningCell) -> Outcome:
    """Three equal frames are let through."""
    return _spoil(cell, USED_UP_NS + 4 * PERIOD_NS, is_frozen=True)


def stamp_an_hour_ago(cell: RunningCell) -> Outcome:
    return _spoil(cell, USED_UP_NS, stamp_ahead_ns=-HOUR_NS)


def stamp_zero(cell: RunningCell) -> Outcome:
    return _spoil(cell, USED_UP_NS, stamp_ahead_ns=-(2**62))


def stamp_an_hour_ahead(cell: RunningCell) -> Outcome:
    return _spoil(cell, USED_UP_NS, stamp_ahead_ns=HOUR_NS)


def stamp_as_far_ahead_as_there_is(cell: RunningCell) -> Outcome:
    return _spoil(cell, USED_UP_NS, stamp_ahead_ns=2**62)


def _spoil(cell: RunningCell, bound_ns: int, **changes: bool | int) -> Outcome:
    """Something is wrong with the camera until the arm is held."""
    right = {name: getattr(cell, name) for name in changes}
    count, since_ns = len(cell.gate()), cell.now_ns()
    for name, value in changes.items():
        setattr(cell, name, value)
    cell.until_state("HOLD", count)
    outcome = Outcome(moved_ns=cell.last_motion_after(since_ns), bound_ns=bound_ns)
    for name, value in right.items():
        setattr(cell, name, value)
    return outcome


def press_the_emergency_stop(cell: RunningCell) -> Outcome:
    count = len(cell.gate())
    pressed_ns = cell.press(is_pressed=True)
    cell.until_state("FAULT: emergency stop", count)
    cell.let_pass(4 * PERIOD_NS)  # zeros keep coming, whatever the policy sends
    outcome = Outcome(moved_ns=cell.last_motion_after(pressed_ns), bound_ns=DELIVERY_NS + PERIOD_NS)
    cell.press(is_pressed=False)
    cell.reset()
    cell.instruct("go")
    return outcome


def give_an_empty_instruction(cell: RunningCell) -> Outcome:
    count = len(cell.gate())
    given_ns = cell.instruct("")
    cell.until_state("HOLD: instruction", count)
    cell.let_pass(4 * PERIOD_NS)
    outcome = Outcome(moved_ns=cell.last_motion_after(given_ns), bound_ns=DELIVERY_NS + PERIOD_NS)
    cell.instruct("go")
    return outcome


FAULTS: dict[str, Callable[[RunningCell], Outcome]] = {
    "kill -9 of policy_node": kill_the_policy,
    "kill -9 of command_gate": kill_the_gate,
    "camera silent": silence_the_camera,
    "camera frozen": freeze_the_camera,
    "stamps an hour old": stamp_an_hour_ago,
    "stamps of zero": stamp_zero,
    "stamps an hour ahead": stamp_an_hour_ahead,
    "stamps as far ahead as there is": stamp_as_far_ahead_as_there_is,
    "emergency stop": press_the_emergency_stop,
    "instruction empty": give_an_empty_instruction,
}
