"""Which measured poses are admitted."""

import pytest

from vla_ros.control.pose_gate import PoseGate
from vla_ros.errors import ObservationError
from vla_ros.observation import MAX_FUTURE_NS

MAX_AGE_NS = 200_000_000
NOW_NS = 10_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = NOW_NS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> PoseGate:
    return PoseGate(base_frame_id="base", max_age_ns=MAX_AGE_NS, now_ns=lambda: clock.now_ns, source="pose")


@pytest.mark.parametrize("age_ns", [-MAX_FUTURE_NS, 0, MAX_AGE_NS])
def test_a_pose_of_now_is_admitted(gate: PoseGate, age_ns: int) -> None:
    gate.check("base", NOW_NS - age_ns)
    assert not gate.refused


@pytest.mark.parametrize(
    ("frame_id", "age_ns", "line"),
    [
        ("world", 0, "pose: header.frame_id: expected 'base', the base_frame_id, got 'world'"),
        ("base", MAX_AGE_NS + 1_000_000, "pose: header.stamp: expected an age <= 0.2 s, got 0.201 s"),
        ("base", -MAX_FUTURE_NS - 1_000_000, "pose: header.stamp: expected <= 0.05 s ahead, got 0.051 s ahead"),
        ("base", NOW_NS, "pose: header.stamp: expected > 0 ns, the last one, got 0 ns"),
    ],
)
def test_any_other_is_refused_and_counted(gate: PoseGate, frame_id: str, age_ns: int, line: str) -> None:
    with pytest.raises(ObservationError) as error:
        gate.check(frame_id, NOW_NS - age_ns)
    assert str(error.value) == line
    assert sum(gate.refused.values()) == 1


@pytest.mark.parametrize("step_ns", [0, -1])
def test_a_pose_that_is_not_newer_than_the_last_is_refused(gate: PoseGate, step_ns: int) -> None:
    gate.check("base", NOW_NS)
    with pytest.raises(ObservationError, match=rf"expected > {NOW_NS} ns, the last one"):
        gate.check("base", NOW_NS + step_ns)
    assert gate.refused == {"header.stamp": 1}


def test_a_refused_pose_does_not_count_as_the_last_one(gate: PoseGate) -> None:
    with pytest.raises(ObservationError):
        gate.check("world", NOW_NS + 1)
    gate.check("base", NOW_NS)


def test_after_the_clock_went_back_poses_of_the_new_time_are_admitted(gate: PoseGate, clock: Clock) -> None:
    gate.check("base", NOW_NS)
    clock.now_ns = NOW_NS // 2
    gate.check("base", clock.now_ns)
    assert not gate.refused
