"""From marks to stages, lost images, late ticks and missed stops: hand-made traces with known answers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from vla_ros.bench import reaction_report
from vla_ros.bench.reaction import Case, Measured, Placement, choose_placement, parse_load, parse_size
from vla_ros.bench.reaction_nodes import make_contract
from vla_ros.bench.reaction_stages import (
    CHAIN,
    LOST,
    STAGES,
    Marks,
    Reactions,
    Stops,
    Ticks,
    reactions,
    read_traces,
    spread,
    stops,
    ticks,
)
from vla_ros.cli import main
from vla_ros.errors import ConfigError

MS = 1_000_000
PERIOD = 10 * MS


def marks_of(stamp: int, *, until: str = "received") -> Marks:
    """An image whose stage k takes k + 1 ms, as far as the mark `until`, which is not there any more."""
    times, time = {}, stamp
    for number, stage in enumerate(CHAIN):
        time += (number + 1) * MS
        times[stage] = time
    marks: Marks = {stage: [(stamp, times[stage])] for stage in CHAIN if stage != "received"}
    marks["command"] = [(times["tick"], times["received"])]
    order = list(CHAIN)
    for stage in order[order.index(until) :] if until != "received" else ():
        marks.pop(stage, None)
    if until != "received":
        marks.pop("command")
    return marks


def merged(*parts: Marks) -> Marks:
    return {stage: [mark for part in parts for mark in part.get(stage, [])] for part in parts for stage in part}


def test_every_stage_takes_from_one_mark_to_the_next() -> None:
    found = reactions(marks_of(1000 * MS), [1000 * MS])
    assert found.stages_ms.tolist() == [[float(k + 1) for k in range(len(STAGES))]]
    assert found.total_ms.tolist() == [sum(range(1, len(STAGES) + 1))]
    wait = STAGES.index("gate_wait") + 1
    assert found.without_wait_ms.tolist() == [found.total_ms[0] - wait]
    assert (found.frames, found.lost_frames) == (1, 0)


@pytest.mark.parametrize("until", [stage for stage in CHAIN if stage != "received"])
def test_an_image_without_a_command_is_lost_where_its_marks_end(until: str) -> None:
    found = reactions(merged(marks_of(1000 * MS), marks_of(2000 * MS, until=until)), [1000 * MS, 2000 * MS])
    assert dict(found.lost) == {LOST[until]: 1}
    assert (found.frames, found.lost_frames, len(found.total_ms)) == (2, 1, 1)


def test_a_command_that_nobody_received_is_lost() -> None:
    marks = marks_of(1000 * MS)
    del marks["command"]
    assert dict(reactions(marks, [1000 * MS]).lost) == {"command lost": 1}


def test_only_the_first_command_of_an_image_counts() -> None:
    marks = marks_of(1000 * MS)
    (first,) = marks["tick"]
    marks["tick"].append((first[0], first[1] + PERIOD))
    marks["command"].append((first[1] + PERIOD, first[1] + 2 * PERIOD))
    assert (
        reactions(marks, [1000 * MS]).stages_ms.tolist()
        == reactions(marks_of(1000 * MS), [1000 * MS]).stages_ms.tolist()
    )


def test_images_that_nobody_asks_for_do_not_count() -> None:
    assert reactions(marks_of(1000 * MS), []).frames == 0


def due(*pairs: tuple[float, float]) -> Marks:
    return {"due": [(round(at * MS), round(time * MS)) for at, time in pairs]}


def test_a_tick_is_as_late_as_it_came_after_it_was_due() -> None:
    found = ticks(due((100, 100.1), (110, 110.5), (120, 120)), PERIOD, 0, 200 * MS)
    np.testing.assert_allclose(found.lateness_ms, [0.1, 0.5, 0.0], atol=1e-9)
    assert found.skipped == 0


def test_a_tick_after_skipped_ones_is_as_late_as_the_first_of_them() -> None:
    # due at 110, it came at 135: the timer then counts from 130
    found = ticks(due((100, 100), (130, 135), (140, 140)), PERIOD, 0, 200 * MS)
    np.testing.assert_allclose(found.lateness_ms, [0.0, 25.0, 0.0], atol=1e-9)
    assert found.skipped == 2


def test_ticks_outside_the_run_do_not_count() -> None:
    found = ticks(due((100, 100), (110, 110), (120, 129)), PERIOD, 105 * MS, 125 * MS)
    assert found.lateness_ms.tolist() == [0.0]
    assert len(ticks({}, PERIOD, 0, 1).lateness_ms) == 0


def commands(*, moves: tuple[float, ...], zeros: tuple[float, ...]) -> Marks:
    """Stamped at these times [ms], received 1 ms later."""
    return {
        "command": [(round(at * MS), round((at + 1) * MS)) for at in moves],
        "stop": [(round(at * MS), round((at + 1) * MS)) for at in zeros],
    }


@pytest.mark.parametrize(
    ("moves", "zeros", "delays"),
    [
        ((90,), (100, 110, 120), [6.0]),  # pressed at 95: the next command is zero
        ((90, 100), (110, 120), [16.0]),  # one may be under way
        ((90, 100, 110), (120, 130), []),  # one that moves, 15 ms after it was pressed
        ((90, 120), (100, 110, 130), []),  # it moved again
        ((90,), (), []),  # nothing came at all
        ((90, 310), (100, 110, 300), [6.0]),  # after the release it may move
    ],
)
def test_a_stop_is_missed_where_the_arm_moves_later_than_a_period_after_it(
    moves: tuple[float, ...], zeros: tuple[float, ...], delays: list[float]
) -> None:
    found = stops(commands(moves=moves, zeros=zeros), PERIOD, [(95 * MS, 305 * MS)])
    assert found.delays_ms.tolist() == delays
    assert found.missed == 1 - len(delays)


def test_percentiles_are_those_of_the_definition() -> None:
    found = spread(np.arange(1001.0))
    assert found == pytest.approx({"p50": 500.0, "p99": 990.0, "p999": 999.0, "max": 1000.0})
    assert set(spread(np.array([])).values()) == {None}


def test_traces_of_several_processes_are_read_as_one(tmp_path: Path) -> None:
    for name, stage in (("a", "image"), ("b", "tick")):
        (tmp_path / name).write_text(json.dumps({"stamp_ns": 1, "stage": stage, "time_ns": 2}) + "\n")
    assert read_traces([tmp_path / "a", tmp_path / "b"]) == {"image": [(1, 2)], "tick": [(1, 2)]}


def measured(load: str = "idle", *, frames: int = 3, late_ms: float = 0.5, missed: int = 0) -> Measured:
    stages = np.tile(np.arange(1.0, len(STAGES) + 1) / 10, (frames, 1))
    return Measured(
        case=Case(contract=make_contract(640, 480), load=parse_load(load), frames=frames, stops=2),
        reactions=Reactions(stages_ms=stages, lost={"refused": 2}),
        ticks=Ticks(lateness_ms=np.full(100, late_ms), skipped=1),
        stops=Stops(delays_ms=np.array([5.0, 6.0][missed:]), missed=missed),
        interruptions=["HOLD: no chunk"],
        is_whole=True,
        others_cores=0.0,
    )


def test_the_json_has_the_first_cases_figures_at_the_top_and_all_cases() -> None:
    document = reaction_report.document([measured(), measured("neighbour")])
    text = json.dumps(document, allow_nan=False)
    assert {"frames", "lost_frames", "p50_ms", "p99_ms", "p999_ms", "max_ms", "stages_ms"} <= set(json.loads(text))
    assert document["frames"] == 5
    assert document["lost_frames"] == 2
    assert math.isclose(document["p50_ms"], sum(range(1, len(STAGES) + 1)) / 10)
    assert set(document["stages_ms"]) == set(STAGES)
    assert math.isclose(document["stages_ms"]["gate_wait"]["p99"], 0.7)
    assert [case["load"] for case in document["cases"]] == ["idle", "neighbour"]
    assert document["machine"]
    assert document["versions"]["rclpy"]
    assert document["seeds"] == [0]


def test_a_case_without_any_measurement_is_reported_too(tmp_path: Path) -> None:
    nothing = measured(frames=0)
    assert json.dumps(reaction_report.document([nothing]), allow_nan=False)
    assert "2 images, 2 led to no command (2 refused)" in reaction_report.text([nothing])
    reaction_report.plot([nothing], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_every_figure_that_is_to_be_reached_is_judged() -> None:
    good = {target.what: target.is_reached for target in reaction_report.targets(measured())}
    assert list(good.values()) == [True] * 4
    bad = reaction_report.targets(measured(late_ms=1.5, missed=1))
    assert [target.is_reached for target in bad] == [True, True, False, False]
    busy = reaction_report.targets(measured("policy", late_ms=1.5))
    assert [target.is_reached for target in busy] == [True, True]
    assert [target.what for target in reaction_report.targets(measured("neighbour"))] == ["missed stops"]


def test_the_report_says_what_ran_beside() -> None:
    text = reaction_report.text([measured()])
    assert "the gate stopped 1 times, first: HOLD: no chunk" in text
    assert "other processes" not in text


def test_without_permission_the_usual_priorities_are_measured_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", lambda pid, policy, param: policy and refuse())
    placement = choose_placement("auto")
    assert (placement.gate_priority, placement.policy_priority, placement.inference_priority) == (0, 0, 0)
    assert placement.text.startswith("usual priorities: this user is permitted no others")
    assert choose_placement("none") == Placement(remark="--priorities none")


@pytest.mark.parametrize("text", ["640", "x", "640x", "0x480", "640x480x3", "-1x2", "99999x99999"])
def test_what_is_no_image_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--sizes: expected"):
        parse_size(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--loads", "lazy"],
        ["--sizes", "640"],
        ["--policy", "nowhere"],
        ["--policy", ".", "--sizes", "640x480"],
        ["--policy", ".", "--loads", "policy"],
        ["--json", "/proc/none/x.json"],
    ],
)
def test_a_mistake_is_one_line_before_anything_starts(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "reaction", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected" in line
