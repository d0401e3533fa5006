"""A scripted pick-and-place expert whose next action is a function of the present state alone.

It keeps no clock and no memory, and it never dwells: a policy without memory is to be cloned from it, and in one image
of a hand that holds still there is nothing that says for how much longer. Thrown off its way, it simply goes on from
there: an object that slipped is picked up again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import GRIPPER_CLOSED, GRIPPER_OPEN, Command
from vla_ros.data.libero_units import FINGER_GAP_OPEN_M, ROTATION_RAD_PER_UNIT, TRANSLATION_M_PER_UNIT
from vla_ros.rotation import rotation_vector_between
from vla_ros.sim.privileged import PrivilegedState

PHASES = ("approach", "descend", "close", "lift", "carry", "lower", "release", "retreat")

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertAction:
    """What the expert does in one state.

    Attributes:
        delta: [6], translation [m] and rotation [rad], base-aligned axes; at most SPEED_UNITS and TURN_UNITS long in
            LIBERO's units.
        gripper: opening, 1 open, 0 closed.
        phase: one of PHASES.
    """

    delta: Array
    gripper: float
    phase: str

    @property
    def command(self) -> Command:
        """For the simulator."""
        return Command(delta=self.delta, gripper=self.gripper)


# How hard it pulls towards where it wants to be: the controller is a critically damped spring at gain 1.
POSITION_GAIN = 1.5
ROTATION_GAIN = 1.0
SPEED_UNITS = 0.9
TURN_UNITS = 0.4

# The way down is a funnel: the farther to the side, the higher.
# Beyond its neck the finger tips stay above the object, which they would tip over.
FUNNEL_FLOOR_M = 0.008
FUNNEL_NECK_M = 0.018
FUNNEL_RIM_M = 0.07
TIP_CLEARANCE_M = 0.02
HOVER_ABOVE_TOP_M = 0.06
GRASP_DEPTH = 0.4  # from the object's top down to where the pads hold it, as a share of its height,
MAX_FINGER_DEPTH_M = 0.032  # and at most this, or the palm touches the top
FLOOR_CLEARANCE_M = 0.012  # the finger tips reach this far below the pads
REACHED_M = 0.012
STILL_REACHED_M = 0.022  # once the fingers have started to close
REACHED_HEIGHTS = 0.35  # of its height at most, up and down: a flat thing is held by its whole height or not at all
STILL_REACHED_HEIGHTS = 0.7
CLOSING_OPENING = 0.95
OPEN_TO_COME_DOWN = (0.6, 0.9)  # fingers that are narrower stay above the object, on which they would only press

LIFT_TURN_M = 0.12  # more and more sideways up to this height,
LIFT_STRAIGHT = 1 / 3  # and straight up for this share of it
RIM_CLEARANCE_M = 0.035
PLATE_HEIGHT_M = 0.03  # a goal that is lower has no walls that would guide what is let go
FALLING_M = 0.1  # let go so high above its plate, a bowl is as good as on it
RETREAT_M = 0.05
EMPTY_SHARE = 0.2  # a bottle is narrow where the fingers hold it,
EMPTY_SHARE_FLAT = 0.6  # a box is not
MAX_GRASP_WIDTH_M = 0.075

# What is wider is a bowl: one finger goes inside.
WALL_INSET_M = 0.008  # of its wall from the edge of its outline, where the pads hold it,
WALL_DEPTH_M = 0.012  # so far below its top
WALL_ROOM_M = 0.03  # for the finger outside
EMPTY_OPENING_WALL = 0.045  # the fingers never quite close
MAX_LEVEL_HALF_HEIGHT_M = 0.042  # of its bounding box; a tilted bowl's is higher
POINTING_DOWN_XYZW = np.array([1.0, 0.0, 0.0, 0.0])
POINTING_DOWN_TURNED_XYZW = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])
HANDS = (POINTING_DOWN_XYZW, POINTING_DOWN_TURNED_XYZW)


@dataclass(frozen=True, slots=True)
class _Funnel:
    """The way into the goal: the farther to the side, the higher.

    Attributes:
        rim_m: to the side of the goal's middle; from there on inwards the object is lowered.
        floor_m: to the side; within, it is lowered all the way.
        release_depth_m: below the goal's rim, where the hand lets go.
    """

    rim_m: float
    floor_m: float
    release_depth_m: float


CONTAINER = _Funnel(rim_m=0.04, floor_m=0.01, release_depth_m=0.015)
PLATE = _Funnel(rim_m=0.02, floor_m=0.01, release_depth_m=0.003)


def act(state: PrivilegedState) -> ExpertAction:
    """The expert's action in this state."""
    if state.is_grasped:
        return _transport(state)
    if _is_delivered(state):
        return _move(state, "retreat", _above(state.effector_position, RETREAT_M), GRIPPER_OPEN)
    return _pick(state)


def _pick(state: PrivilegedState) -> ExpertAction:
    grasp = grasp_position(state)
    error = state.effector_position - grasp
    sideways = float(np.linalg.norm(error[:2]))
    if _is_around(state, sideways, float(abs(error[2]))):
        return _move(state, "close", grasp, GRIPPER_CLOSED)
    top = state.target_centre[2] + state.target_half_extents[2] - grasp[2]
    still_narrow = 1.0 - _ramp(state.gripper_opening, *OPEN_TO_COME_DOWN)
    height = (top + TIP_CLEARANCE_M) * max(_ramp(sideways, FUNNEL_FLOOR_M, FUNNEL_NECK_M), still_narrow)
    height += (HOVER_ABOVE_TOP_M - TIP_CLEARANCE_M) * _ramp(sideways, FUNNEL_NECK_M, FUNNEL_RIM_M)
    phase = "descend" if sideways < FUNNEL_RIM_M else "approach"
    return _move(state, phase, _above(grasp, height), GRIPPER_OPEN)


def _is_around(state: PrivilegedState, sideways: float, up: float) -> bool:
    """Whether the object is between the fingers, so that they close, and not yet empty, so that they go on."""
    is_closing = state.gripper_opening < CLOSING_OPENING
    reached = STILL_REACHED_M if is_closing else REACHED_M
    heights = STILL_REACHED_HEIGHTS if is_closing else REACHED_HEIGHTS
    reached_up = WALL_DEPTH_M if _is_wide(state) else min(reached, heights * 2 * float(state.target_half_extents[2]))
    # fingers that have met with nothing inside the object's outline would close for ever
    return sideways < reached and up < reached_up and state.gripper_opening > _empty_opening(state)


def _empty_opening(state: PrivilegedState) -> float:
    """Fingers that have come so close to each other, and hold nothing, have missed it."""
    if _is_wide(state):
        return EMPTY_OPENING_WALL
    width = float(2 * state.target_half_extents[0 if _is_turned(state) else 1])
    share = EMPTY_SHARE_FLAT if 2 * state.target_half_extents[2] < width else EMPTY_SHARE
    return share * width / FINGER_GAP_OPEN_M


def _transport(state: PrivilegedState) -> ExpertAction:
    held = state.target_centre - state.effector_position
    rim = state.goal_position[2] + state.goal_half_extents[2]
    bottom = state.target_centre[2] - state.target_half_extents[2]
    to_goal = state.goal_position[:2] - state.target_centre[:2]
    sideways = float(np.linalg.norm(to_goal))
    way = _funnel(state)
    if sideways < way.rim_m and bottom < rim - way.release_depth_m:
        return _move(state, "release", state.effector_position, GRIPPER_OPEN)
    height = bottom - (state.goal_position[2] - state.goal_half_extents[2])
    # above a low goal it is carried so low that it would never be free to move sideways
    free_m = min(LIFT_TURN_M, 0.9 * (2 * state.goal_half_extents[2] + RIM_CLEARANCE_M))
    freedom = 1.0 if sideways < CONTAINER.rim_m else _ramp(height, LIFT_STRAIGHT * free_m, free_m)
    # aimed below the depth at which it lets go, so as not to slow down just above it
    lowest = -2 * way.release_depth_m
    over_rim = lowest + (RIM_CLEARANCE_M - lowest) * _ramp(sideways, way.floor_m, way.rim_m)
    wanted = np.array([*state.target_centre[:2] + freedom * to_goal, rim + over_rim + state.target_half_extents[2]])
    phase = "lower" if sideways < way.rim_m else "carry" if freedom > 0 else "lift"
    return _move(state, phase, wanted - held, GRIPPER_CLOSED)


def grasp_position(state: PrivilegedState) -> Array:
    """Where the pads close, [3]: in the middle of the object, or on the wall of one that is too wide for the hand; near
    its top, but not with the tips in the floor."""
    top = state.target_centre[2] + state.target_half_extents[2]
    floor = state.target_centre[2] - state.target_half_extents[2]
    depth = WALL_DEPTH_M if _is_wide(state) else min(GRASP_DEPTH * (top - floor), MAX_FINGER_DEPTH_M)
    position = np.array([*state.target_centre[:2], max(top - depth, floor + FLOOR_CLEARANCE_M)])
    if _is_wide(state):
        axis, sign = _wall(state)
        position[axis] += sign * (state.target_half_extents[axis] - WALL_INSET_M)
    return position


def _wall(state: PrivilegedState) -> tuple[int, float]:
    """Axis and sign of the side on which one finger goes down outside: towards the arm's foot, for the arm is stretched
    to its end where bowls are put down; where there is no room, or the bowl is tilted, along y where there is more."""
    left, right, near = state.target_room
    if near > WALL_ROOM_M and state.target_half_extents[2] < MAX_LEVEL_HALF_HEIGHT_M:
        return 0, -1.0
    return 1, 1.0 if right > left else -1.0


def _is_delivered(state: PrivilegedState) -> bool:
    """Whether the object is in the goal region, or falling into it."""
    offset = state.target_centre - state.goal_position
    if _funnel(state) is PLATE:
        return bool(
            np.linalg.norm(offset[:2]) < 1.5 * PLATE.rim_m and -state.goal_half_extents[2] < offset[2] < FALLING_M
        )
    return bool((np.abs(offset[:2]) < state.goal_half_extents[:2]).all() and offset[2] > -state.goal_half_extents[2])


def _funnel(state: PrivilegedState) -> _Funnel:
    return PLATE if 2 * state.goal_half_extents[2] < PLATE_HEIGHT_M else CONTAINER


def _is_turned(state: PrivilegedState) -> bool:
    """Whether the fingers close along x; they usually close along y."""
    if _is_wide(state):
        return _wall(state)[0] == 0
    x, y = 2 * state.target_half_extents[:2]
    return bool(y > MAX_GRASP_WIDTH_M > x)


def _is_wide(state: PrivilegedState) -> bool:
    """Whether the object fits between the fingers in no direction; then one finger goes inside."""
    return bool(2 * state.target_half_extents[:2].min() > MAX_GRASP_WIDTH_M)


def _hand_target(state: PrivilegedState) -> Array:
    """Straight down, turned by 90 degrees where that is needed, and as it is with something in it."""
    if state.is_grasped:
        turns = [np.linalg.norm(rotation_vector_between(hand, state.effector_quaternion_xyzw)) for hand in HANDS]
        return HANDS[int(np.argmin(turns))]
    return HANDS[_is_turned(state)]


def _move(state: PrivilegedState, phase: str, position: Array, gripper: float) -> ExpertAction:
    """A proportional step towards a position, hand upright, bounded in length but not in direction."""
    translation = POSITION_GAIN * (position - state.effector_position)
    rotation = ROTATION_GAIN * rotation_vector_between(_hand_target(state), state.effector_quaternion_xyzw)
    delta = np.concatenate(
        [
            _bounded(translation, SPEED_UNITS * TRANSLATION_M_PER_UNIT),
            _bounded(rotation, TURN_UNITS * ROTATION_RAD_PER_UNIT),
        ]
    )
    return ExpertAction(delta=delta, gripper=gripper, phase=phase)


def _above(position: Array, height_m: float) -> Array:
    return np.array([position[0], position[1], position[2] + height_m])


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, straight in between."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def _bounded(vector: Array, length: float) -> Array:
    norm = float(np.linalg.norm(vector))
    return vector if norm <= length else vector * (length / norm)
