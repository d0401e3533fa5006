"""Limits, against hand-computed vectors."""

import dataclasses

import numpy as np
import pytest

from test.control.gate_fixtures import make_chunk, make_motion
from vla_ros.control.displacement import NONE, Displacement
from vla_ros.control.limits import MotionLimits, StepLimits, Workspace, braking_step
from vla_ros.control.pose import Pose
from vla_ros.errors import ContractError

LIMITS = make_motion(linear=1.0, angular=2.0)
TICK_S = 0.1


def clamp(limits: MotionLimits, delta: list[float], previous: Displacement = NONE) -> tuple[Displacement, bool]:
    return limits.clamp(np.array(delta), previous, TICK_S, TICK_S)


def test_a_delta_within_the_limits_is_unchanged() -> None:
    delta = [0.06, 0.08, 0.0, 0.0, 0.0, 0.2]
    assert clamp(LIMITS, delta)[0].tolist() == delta
    assert not clamp(LIMITS, delta)[1]


def test_a_change_within_the_limits_leaves_the_delta_as_it_is_to_the_last_bit() -> None:
    """0.009 + (0.001 - 0.009) is not 0.001 in binary."""
    delta, is_clamped = clamp(LIMITS, [0.001, 0.0, 0.0, 0.0, 0.0, 0.001], np.array([0.009, 0, 0, 0, 0, 0.009]))
    assert delta.tolist() == [0.001, 0.0, 0.0, 0.0, 0.0, 0.001]
    assert not is_clamped


def test_too_fast_a_translation_keeps_its_direction_and_the_rotation_its_value() -> None:
    delta, is_clamped = clamp(LIMITS, [0.3, 0.4, 0.0, 0.0, 0.1, 0.0])
    np.testing.assert_allclose(delta, [0.06, 0.08, 0.0, 0.0, 0.1, 0.0])
    assert is_clamped


def test_too_fast_a_rotation_is_shortened_on_its_own() -> None:
    delta, is_clamped = clamp(LIMITS, [0.01, 0.0, 0.0, 0.0, 0.0, -3.0])
    np.testing.assert_allclose(delta, [0.01, 0.0, 0.0, 0.0, 0.0, -0.2])
    assert is_clamped


@pytest.mark.parametrize(("index", "most"), [(0, 0.1), (1, 0.1), (2, 0.1), (3, 0.2), (4, 0.2), (5, 0.2)])
def test_every_axis_is_limited(index: int, most: float) -> None:
    delta, is_clamped = clamp(LIMITS, (9 * np.eye(6)[index]).tolist())
    np.testing.assert_allclose(delta, most * np.eye(6)[index])
    assert is_clamped


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", range(6))
def test_a_number_that_is_not_finite_is_refused_not_clamped(index: int, bad: float) -> None:
    delta = np.zeros(6)
    delta[index] = bad
    with pytest.raises(ContractError, match="finite"):
        LIMITS.clamp(delta, NONE, TICK_S, TICK_S)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(MotionLimits)])
def test_a_limit_that_limits_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ContractError, match=f"{name}: expected a positive number"):
        dataclasses.replace(LIMITS, **{name: value})


def test_a_velocity_changes_by_no_more_than_the_acceleration_allows() -> None:
    """0.5 m/s^2 for 0.1 s twice: 5 mm a tick; 2 rad/s^2: 0.02 rad a tick."""
    limits = make_motion(linear_acceleration=0.5, angular_acceleration=2.0)
    previous = np.array([0.03, 0.0, 0.0, 0.0, 0.0, 0.1])
    delta, is_clamped = clamp(limits, [-0.01, 0.03, 0.0, 0.0, 0.0, 0.11], previous)
    np.testing.assert_allclose(delta, [0.03 - 0.004, 0.003, 0.0, 0.0, 0.0, 0.11], atol=1e-12)
    assert is_clamped
    delta, is_clamped = clamp(limits, [0.033, 0.004, 0.0, 0.0, 0.0, 0.2], previous)
    np.testing.assert_allclose(delta, [0.033, 0.004, 0.0, 0.0, 0.0, 0.12], atol=1e-12)
    assert is_clamped


def test_towards_the_end_of_a_chunk_its_share_of_the_tick_limits_the_speed() -> None:
    delta, is_clamped = LIMITS.clamp(np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.2]), NONE, TICK_S, TICK_S / 4)
    np.testing.assert_allclose(delta, [0.025, 0.0, 0.0, 0.0, 0.0, 0.05])
    assert is_clamped


@pytest.mark.parametrize(
    ("distance", "steps"),
    [(6.0, [3, 2, 1]), (1.0, [1]), (0.4, [0.4]), (0.9, [0.9]), (10.0, [4, 3, 2, 1]), (2.0, [1.5, 0.5])],
)
def test_braking_steps_come_to_rest_exactly_at_the_distance(distance: float, steps: list[float]) -> None:
    taken, left = [], distance
    for _ in steps:
        taken.append(braking_step(left, 1.0))
        left -= taken[-1]
    assert taken == pytest.approx(steps)
    assert left == pytest.approx(0)


def test_without_a_wall_nothing_brakes() -> None:
    assert braking_step(np.inf, 1.0) == np.inf


def test_what_is_owed_is_made_up_for_only_as_fast_as_the_arm_can_stop_from() -> None:
    """1 mm of change a tick: of 6 mm, 3; rotation likewise, 10 mrad of change: of 5 mrad all."""
    limits = make_motion(linear_acceleration=0.1, angular_acceleration=1.0)
    owed = limits.catching_up(np.array([0.0, -0.006, 0.0, 0.005, 0.0, 0.0]), TICK_S)
    np.testing.assert_allclose(owed, [0.0, -0.003, 0.0, 0.005, 0.0, 0.0])


def test_long_rows_are_shortened_in_their_direction_and_counted() -> None:
    limits = StepLimits(max_step_m=0.025, max_step_rad=0.5, max_clamped_fraction=0.5)
    chunk = make_chunk(0)  # 1 to 4 cm along x
    chunk.actions[0, 3:6] = [0.0, 3.0, 4.0]
    short, count = limits.clamp(chunk)
    assert count == 3
    np.testing.assert_allclose(short.actions[:, 0], [0.01, 0.02, 0.025, 0.025])
    np.testing.assert_allclose(short.actions[0, 3:6], [0.0, 0.3, 0.4], rtol=1e-6)
    assert short.actions[:, 6].tolist() == chunk.actions[:, 6].tolist()
    assert [limits.is_fault(clamped, 4) for clamped in (0, 2, 3)] == [False, False, True]
    same, count = dataclasses.replace(limits, max_step_m=0.05, max_step_rad=6.0).clamp(chunk)
    assert same is chunk
    assert count == 0


def test_a_row_beyond_float32s_square_root_is_shortened_as_well() -> None:
    chunk = make_chunk(0)
    chunk.actions[0, :3] = 1e30
    short, count = StepLimits(max_step_m=0.1, max_step_rad=1.0, max_clamped_fraction=1.0).clamp(chunk)
    assert count == 1
    np.testing.assert_allclose(short.actions[0, :3], 0.1 / np.sqrt(3), rtol=1e-6)


def test_a_row_exactly_as_long_as_the_limit_is_not_too_long() -> None:
    chunk = make_chunk(0, x0_m=0.25, slope_m=0.0)
    same, count = StepLimits(max_step_m=0.25, max_step_rad=1.0, max_clamped_fraction=1.0).clamp(chunk)
    assert same is chunk
    assert count == 0


def test_a_fraction_of_more_than_all_rows_is_refused() -> None:
    with pytest.raises(ContractError, match=r"^max_clamped_fraction: expected 0 to 1, got 1\.5$"):
        StepLimits(max_step_m=0.1, max_step_rad=1.0, max_clamped_fraction=1.5)


@pytest.mark.parametrize("name", ["max_step_m", "max_step_rad", "max_clamped_fraction"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_step_limits_that_no_robot_has_are_refused(name: str, value: float) -> None:
    limits = StepLimits(max_step_m=0.1, max_step_rad=1.0, max_clamped_fraction=0.0)
    with pytest.raises(ContractError, match=name):
        dataclasses.replace(limits, **{name: value})


BOX = Workspace(least_m=np.array([-1.0, -np.inf, 0.0]), most_m=np.array([1.0, np.inf, 2.0]))
HARD = 1e6
"""An acceleration that stops at once [m/s^2]."""


def pose(x: float, y: float, z: float, quaternion: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0)) -> Pose:
    return Pose(position_m=np.array([x, y, z]), quaternion_xyzw=np.array(quaternion))


def in_box(delta: list[float], at: Pose, *, is_in_tool_frame: bool = False) -> list[float]:
    limited, _ = BOX.clamp(np.array([*delta, 0.1, 0.2, 0.3]), at, HARD, TICK_S, is_in_tool_frame=is_in_tool_frame)
    assert limited[3:].tolist() == [0.1, 0.2, 0.3]
    return np.round(limited[:3], 6).tolist()


def test_the_arm_slides_along_a_wall() -> None:
    assert in_box([0.3, 9.0, 0.1], pose(0.9, 5.0, 1.0)) == [0.1, 9.0, 0.1]
    assert in_box([-0.3, -9.0, -1.5], pose(-0.9, 5.0, 1.0)) == [-0.1, -9.0, -1.0]


def test_from_outside_only_motions_inwards_are_left() -> None:
    assert in_box([0.2, 0.0, -0.2], pose(1.5, 0.0, 1.0)) == [0.0, 0.0, -0.2]
    assert in_box([-0.2, 0.0, -0.2], pose(1.5, 0.0, -0.1)) == [-0.2, 0.0, 0.0]


def test_walls_stand_in_the_base_frame_wherever_the_tool_points() -> None:
    """A quarter turn about z: the tool's x is the base's y, its y the base's -x."""
    turned = pose(0.9, 0.0, 1.0, (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)))
    assert in_box([0.5, -0.5, 0.0], turned, is_in_tool_frame=True) == [0.5, -0.1, 0.0]


def test_walls_stop_a_motion_along_them_wherever_the_tool_points() -> None:
    """Deltas of the base frame are not turned with the tool."""
    turned = pose(0.9, 0.0, 1.0, (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)))
    assert in_box([0.5, -0.5, 0.0], turned) == [0.1, -0.5, 0.0]


def test_in_a_corner_three_walls_together_brake_no_harder_than_the_arm_may() -> None:
    """sqrt(3) m/s^2 are 1 m/s^2 for each wall, 1 cm of change a tick: 6 cm away, the last steps are 3, 2 and 1 cm."""
    corner = Workspace(least_m=np.zeros(3), most_m=np.full(3, 1.0))
    wanted = np.array([0.5, -0.5, 0.5, 0.0, 0.0, 0.0])
    delta, is_at_wall = corner.clamp(wanted, pose(0.94, 0.06, 0.94), np.sqrt(3), TICK_S, is_in_tool_frame=False)
    np.testing.assert_allclose(delta, [0.03, -0.03, 0.03, 0, 0, 0])
    assert is_at_wall


def test_towards_a_wall_the_arm_slows_down_as_hard_as_it_may() -> None:
    at, previous, acceleration = pose(-0.2, 0.0, 1.0), 0.1, 1.0
    for _ in range(200):
        delta, _ = BOX.clamp(np.array([0.1, 0, 0, 0, 0, 0.0]), at, acceleration, TICK_S, is_in_tool_frame=False)
        assert delta[0] >= previous - acceleration * TICK_S**2 - 1e-12
        at, previous = at.moved(delta, "axis_angle", is_in_tool_frame=False), delta[0]
    assert at.position_m[0] == pytest.approx(1.0)
    assert at.position_m[0] <= 1.0 + 1e-12


@pytest.mark.parametrize("most_m", [0.0, -1.0, np.nan])
def test_a_box_without_an_inside_is_refused(most_m: float) -> None:
    with pytest.raises(ContractError, match=r"^workspace_max_m: expected more than workspace_min_m"):
        Workspace(least_m=np.zeros(3), most_m=np.array([1.0, most_m, 1.0]))
