"""The scripted expert in single states; it needs no simulator to say what it would do."""

from dataclasses import replace

import numpy as np
import pytest

from vla_ros.action import GRIPPER_CLOSED, GRIPPER_OPEN
from vla_ros.sim import expert
from vla_ros.sim.privileged import PrivilegedState

BOX, BOTTLE, BOWL = np.array([0.04, 0.02, 0.009]), np.array([0.022, 0.022, 0.07]), np.array([0.053, 0.053, 0.03])


def above(half_extents: np.ndarray, height_m: float, opening: float) -> PrivilegedState:
    """The hand right above where it would grasp an object on the floor, so high."""
    state = PrivilegedState(
        effector_position=np.zeros(3),
        effector_quaternion_xyzw=np.array([1.0, 0.0, 0.0, 0.0]),
        gripper_opening=opening,
        target_position=np.array([0.0, 0.0, half_extents[2]]),
        target_centre=np.array([0.0, 0.0, half_extents[2]]),
        target_half_extents=half_extents,
        target_room=np.full(3, 0.06),
        goal_position=np.array([0.0, 0.3, 0.05]),
        goal_half_extents=np.array([0.07, 0.07, 0.05]),
        is_grasped=False,
    )
    state.effector_position[:] = expert.grasp_position(state) + np.array([0.0, 0.0, height_m])
    return state


@pytest.mark.parametrize(("height_m", "phase"), [(0.015, "descend"), (0.008, "descend"), (0.004, "close")])
def test_a_flat_box_is_grasped_by_its_whole_height(height_m: float, phase: str) -> None:
    action = expert.act(above(BOX, height_m, opening=1.0))
    assert action.phase == phase
    assert action.delta[2] < 0
    assert action.gripper == (GRIPPER_CLOSED if phase == "close" else GRIPPER_OPEN)


def test_a_bottle_is_grasped_a_little_higher_or_lower_as_well() -> None:
    assert expert.act(above(BOTTLE, 0.011, opening=1.0)).phase == "close"


@pytest.mark.parametrize("height_m", [0.0, 0.01, 0.02])
def test_fingers_that_closed_on_nothing_open_above_the_box_before_they_come_down_again(height_m: float) -> None:
    closed = expert.act(above(BOX, height_m, opening=0.2))
    assert (closed.phase, closed.gripper) == ("descend", GRIPPER_OPEN)
    assert closed.delta[2] > 0
    wide = expert.act(above(BOX, 0.02, opening=0.95))
    assert wide.delta[2] < 0


def test_fingers_around_a_box_go_on_closing_down_to_its_width() -> None:
    around, inside = above(BOX, 0.002, opening=0.55), above(BOX, 0.002, opening=0.25)
    assert expert.act(around).phase == "close"
    assert expert.act(inside).phase == "descend"


def test_a_bottle_may_be_narrower_where_the_fingers_are_than_its_outline() -> None:
    assert expert.act(above(BOTTLE, 0.002, opening=0.25)).phase == "close"


def test_a_bowl_is_taken_by_its_wall_towards_the_arms_foot_or_where_there_is_room() -> None:
    bowl = above(BOWL, 0.0, opening=1.0)
    np.testing.assert_allclose(expert.grasp_position(bowl)[:2], [-0.045, 0.0])
    blocked = replace(bowl, target_room=np.array([0.01, 0.05, 0.02]))
    np.testing.assert_allclose(expert.grasp_position(blocked)[:2], [0.0, 0.045])


def test_a_bowl_low_above_its_plate_still_comes_to_the_middle() -> None:
    """Where the way up frees the way sideways, a low goal is a place to hover for ever."""
    bowl, plate = above(BOWL, 0.0, opening=0.1), np.array([0.013, 0.0, -0.018])
    action = expert.act(
        replace(bowl, is_grasped=True, goal_position=plate, goal_half_extents=np.array([0.07, 0.07, 0.009]))
    )
    assert action.phase == "lower"
    assert action.delta[0] > 0.01
