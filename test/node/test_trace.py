"""What is marked is written, from whatever thread it comes; without a path nothing is."""

import json
import threading
import time
from pathlib import Path

import pytest
from geometry_msgs.msg import TwistStamped

from test.node.fleet import GATE, Fleet, Probe
from vla_ros.errors import ConfigError
from vla_ros.node.messages import ns_from_stamp
from vla_ros.node.trace import STAGES, Trace

THREADS = 4
MARKS = 2000


def read(path: Path) -> list[tuple[int, str, int]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["stamp_ns"], line["stage"], line["time_ns"]) for line in lines]


def test_marks_are_written_in_their_order(tmp_path: Path) -> None:
    trace = Trace(str(tmp_path / "trace.jsonl"))
    for number, stage in enumerate(STAGES):
        trace.mark(number, stage, 100 + number)
    assert trace.write() == 0
    assert read(tmp_path / "trace.jsonl") == [(number, stage, 100 + number) for number, stage in enumerate(STAGES)]


def test_a_mark_without_a_time_is_of_now_by_the_clock_of_header_stamps(tmp_path: Path) -> None:
    trace = Trace(str(tmp_path / "trace.jsonl"))
    before = time.time_ns()
    trace.mark(1, "image")
    after = time.time_ns()
    trace.write()
    ((_, _, marked),) = read(tmp_path / "trace.jsonl")
    assert before <= marked <= after


def test_the_newest_marks_are_kept_and_the_missing_ones_counted(tmp_path: Path) -> None:
    trace = Trace(str(tmp_path / "trace.jsonl"), capacity=10)
    for number in range(25):
        trace.mark(number, "image", number)
    assert trace.write() == 15
    assert [stamp for stamp, _, _ in read(tmp_path / "trace.jsonl")] == list(range(15, 25))


def test_marks_of_several_threads_are_all_there(tmp_path: Path) -> None:
    trace = Trace(str(tmp_path / "trace.jsonl"))

    def mark(first: int) -> None:
        for number in range(first, first + MARKS):
            trace.mark(number, "image", number)

    threads = [threading.Thread(target=mark, args=(number * MARKS,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace.write()
    marks = read(tmp_path / "trace.jsonl")
    assert sorted(stamp for stamp, _, _ in marks) == list(range(THREADS * MARKS))
    assert all(stamp == time for stamp, _, time in marks)


def test_without_a_path_nothing_is_kept_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trace = Trace("")
    trace.mark(1, "no such stage")
    assert trace.write() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_stage_that_nobody_knows_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Trace(str(tmp_path / "trace.jsonl")).mark(1, "no such stage")


def test_a_file_that_cannot_be_written_is_told_before_anything_moves(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trace: .*missing/trace.jsonl: expected a file that can be written, got No"):
        Trace(str(tmp_path / "missing" / "trace.jsonl"))


def test_a_node_with_such_a_file_does_not_start(fleet: Fleet) -> None:
    fleet.start_node("command_gate", {**GATE, "trace": "missing/trace.jsonl"})
    assert fleet.wait("command_gate") == 2
    (line,) = fleet.text("command_gate").splitlines()
    assert line.startswith("trace: missing/trace.jsonl: expected a file that can be written")


def test_a_node_writes_its_trace_when_it_ends(fleet: Fleet, probe: Probe) -> None:
    twists = probe.listen("delta_twist_cmds", TwistStamped)
    fleet.start_node("command_gate", {**GATE, "lockstep": False, "trace": "trace.jsonl"})
    probe.until(lambda: len(twists) >= 5, "commands")
    assert fleet.interrupt("command_gate") == 0
    marks = read(fleet.folder / "trace.jsonl")
    assert {stage for _, stage, _ in marks} == {"due"}  # there was no chunk, but there were ticks
    assert {ns_from_stamp(twist.header.stamp) for twist in twists[:5]} <= {time_ns for _, _, time_ns in marks}
    assert all(due_ns <= time_ns for due_ns, _, time_ns in marks)
