"""Cores, priority and niceness of a node's process: given by its parameters, refused where they cannot be had."""

import os
import threading
from pathlib import Path

import pytest

from test.node.fleet import GATE, Fleet, Probe
from vla_ros.errors import ConfigError
from vla_ros.node.scheduling import inherited_priority, parse_cores, schedule

CORES = frozenset(os.sched_getaffinity(0))
NICE = 5
PRIORITY = 3


def may_be_urgent() -> bool:
    """Whether this user may have real-time priority; the test's own thread does not keep it."""
    permitted: list[bool] = []

    def attempt() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
            permitted.append(True)
        except PermissionError:
            permitted.append(False)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return permitted[0]


needs_permission = pytest.mark.skipif(not may_be_urgent(), reason="this user may have no real-time priority")


def threads_of(pid: int) -> list[int]:
    return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]


@pytest.mark.parametrize(
    ("text", "cores"), [("", set()), ("0", {0}), ("0,2", {0, 2}), ("1-3", {1, 2, 3}), ("0,2-3,7", {0, 2, 3, 7})]
)
def test_cores_are_listed_as_for_taskset(text: str, cores: set[int]) -> None:
    assert parse_cores(text) == cores


@pytest.mark.parametrize("text", ["a", "0,", "-1", "1-", "1-2-3", " 1", "0;1", "0.5"])
def test_what_is_no_list_of_cores_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cpu_affinity: expected core numbers and ranges such as '0,2-3', got"):
        parse_cores(text)


def test_cores_that_there_are_not_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"cpu_affinity: expected some of the cores .*, got 9999"):
        schedule(frozenset({9999}), 0, 0)


def test_what_the_system_does_not_permit_is_one_line_that_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with pytest.raises(ConfigError, match=r"thread_priority, nice: expected ones that are permitted, got 50, 0: .*rtp"):
        schedule(frozenset(), 50, 0)
    message = r"inference_priority: expected one that is permitted, got 20: .*rtprio"
    with pytest.raises(ConfigError, match=message), inherited_priority(20):
        pass


def test_every_thread_of_a_node_runs_on_its_cores_as_nicely_as_told(fleet: Fleet, probe: Probe) -> None:
    states = probe.states("command_gate/state")
    fleet.start_node("command_gate", {**GATE, "cpu_affinity": str(min(CORES)), "nice": NICE})
    probe.until(lambda: states() and states()[-1].startswith("ARMED"), "activation")
    threads = threads_of(fleet.process("command_gate").pid)
    assert len(threads) > 5  # the middleware's own
    assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {frozenset({min(CORES)})}
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {NICE}


@needs_permission
def test_every_thread_of_the_gate_has_its_priority(fleet: Fleet, probe: Probe) -> None:
    states = probe.states("command_gate/state")
    fleet.start_node("command_gate", {**GATE, "thread_priority": PRIORITY})
    probe.until(lambda: states() and states()[-1].startswith("ARMED"), "activation")
    threads = threads_of(fleet.process("command_gate").pid)
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_FIFO}
    assert {os.sched_getparam(thread).sched_priority for thread in threads} == {PRIORITY}


@needs_permission
@pytest.mark.parametrize("priority", [0, PRIORITY - 1])
def test_what_computes_has_the_priority_that_it_is_given_and_what_starts_it_keeps_its_own(priority: int) -> None:
    seen: dict[str, int] = {}

    def compute() -> None:
        seen["computing"] = os.sched_getparam(0).sched_priority

    def node() -> None:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        with inherited_priority(priority):
            thread = threading.Thread(target=compute)
            thread.start()
        thread.join()
        seen["after"] = os.sched_getparam(0).sched_priority

    thread = threading.Thread(target=node)
    thread.start()
    thread.join()
    assert seen == {"computing": priority, "after": PRIORITY}
