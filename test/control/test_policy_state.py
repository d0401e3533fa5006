"""Why a policy holds, when failures become a fault, and what counts as a hang."""

import pytest

from vla_ros.control.policy_state import MAX_FAILURES, HangDetector, PolicyState


def test_a_policy_serves_until_something_is_in_the_way() -> None:
    state = PolicyState()
    assert (state.text, state.is_serving) == ("ACTIVE", True)
    state.hold("image", "no picture")
    assert (state.text, state.is_serving) == ("HOLD: no picture", False)
    state.release("image")
    assert (state.text, state.is_serving) == ("ACTIVE", True)


def test_the_state_names_the_weightiest_cause_and_ends_with_the_last() -> None:
    state = PolicyState()
    state.hold("image", "no picture")
    state.hold("instruction", "nothing to do")
    assert state.text == "HOLD: nothing to do"
    state.release("instruction")
    assert state.text == "HOLD: no picture"
    assert state.holds_for("image")
    assert not state.holds_for("instruction")
    state.release("inference")
    assert not state.is_serving


def test_a_cause_can_have_another_reason() -> None:
    state = PolicyState()
    state.hold("image", "black")
    state.hold("image", "frozen")
    assert state.text == "HOLD: frozen"


def test_failures_in_a_row_are_a_fault_that_nothing_ends() -> None:
    state = PolicyState()
    for count in range(1, MAX_FAILURES):
        state.fail(f"reason {count}")
        assert state.text == f"HOLD: inference failed: reason {count}"
    state.fail("the last reason")
    assert state.text == f"FAULT: inference failed {MAX_FAILURES} times in a row: the last reason"
    state.succeed()
    assert state.is_faulty
    assert not state.is_serving


def test_a_success_between_failures_starts_the_count_anew() -> None:
    state = PolicyState()
    for _ in range(2 * MAX_FAILURES):
        state.fail("now and then")
        assert not state.is_faulty
        state.succeed()
        assert state.text == "ACTIVE"


TIMEOUT_NS = 1000


@pytest.mark.parametrize("begun_ns", [0, 5])
def test_each_timeout_of_one_inference_is_told_once(begun_ns: int) -> None:
    hang = HangDetector(TIMEOUT_NS)
    told = [now_ns for now_ns in range(begun_ns, begun_ns + 3500, 100) if hang.has_timed_out(begun_ns, now_ns)]
    assert told == [begun_ns + 1100, begun_ns + 2100, begun_ns + 3100]


def test_an_inference_that_takes_its_whole_time_is_no_hang() -> None:
    hang = HangDetector(TIMEOUT_NS)
    assert not hang.has_timed_out(7, 7 + TIMEOUT_NS)
    assert hang.has_timed_out(7, 8 + TIMEOUT_NS)


def test_the_next_inference_has_its_own_time() -> None:
    hang = HangDetector(TIMEOUT_NS)
    assert hang.has_timed_out(0, 1500)
    assert not hang.has_timed_out(None, 1600)
    assert not hang.has_timed_out(1600, 2600)
    assert hang.has_timed_out(1600, 2601)
