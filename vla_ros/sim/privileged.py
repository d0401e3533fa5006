"""LIBERO's ground truth, read from MuJoCo: for the scripted expert and for recording, never for a policy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.data.libero_units import FINGER_GAP_OPEN_M

ROOM_M = 0.06
HAND_HALF_WIDTH_M = 0.02

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivilegedState:
    """Where everything is, with respect to one goal. World frame, metres.

    Attributes:
        effector_position: [3], the point between the finger pads.
        effector_quaternion_xyzw: [4], the hand; (1, 0, 0, 0) points straight down.
        gripper_opening: finger gap, 1 fully open, 0 closed.
        target_position: [3], origin of the object to be moved.
        target_centre: [3], centre of its bounding box.
        target_half_extents: [3], half the sides of its bounding box along the world's axes.
        target_room: [3], how far the next thing is from its bounding box along -y, +y and -x, at most ROOM_M.
        goal_position: [3], centre of the region it goes to.
        goal_half_extents: [3], half the sides of that region.
        is_grasped: both fingers touch the target.
    """

    effector_position: Array
    effector_quaternion_xyzw: Array
    gripper_opening: float
    target_position: Array
    target_centre: Array
    target_half_extents: Array
    target_room: Array
    goal_position: Array
    goal_half_extents: Array
    is_grasped: bool


def read_privileged(env: Any, target: str, region: str) -> PrivilegedState:
    """Ground truth of a robosuite environment for moving the object `target` to `region`."""
    robot = env.robots[0]
    centre, half = bounding_box(env, target)
    goal_position, goal_half = _region(env, region)
    fingers = env.sim.data.qpos[robot._ref_gripper_joint_pos_indexes]
    return PrivilegedState(
        effector_position=np.array(env.sim.data.site_xpos[robot.eef_site_id]),
        effector_quaternion_xyzw=_hand_quaternion(env),
        gripper_opening=float(np.clip(np.abs(fingers).sum() / FINGER_GAP_OPEN_M, 0.0, 1.0)),
        target_position=np.array(env.sim.data.body_xpos[env.obj_body_id[target]]),
        target_centre=centre,
        target_half_extents=half,
        target_room=_room(env, target, centre, half),
        goal_position=goal_position,
        goal_half_extents=goal_half,
        is_grasped=_is_grasped(env, target),
    )


def read_proprioception(env: Any) -> dict[str, Array]:
    """What LIBERO records of the robot, under LIBERO's names."""
    from robosuite.utils.transform_utils import quat2axisangle

    robot = env.robots[0]
    position = np.array(env.sim.data.site_xpos[robot.eef_site_id])
    quaternion = _hand_quaternion(env)
    orientation = np.array(quat2axisangle(quaternion.copy()))
    fingers = np.array(env.sim.data.qpos[robot._ref_gripper_joint_pos_indexes])
    return {
        "obs/ee_pos": position,
        "obs/ee_ori": orientation,
        "obs/ee_states": np.concatenate([position, orientation]),
        "obs/gripper_states": fingers,
        "obs/joint_states": np.array(env.sim.data.qpos[robot._ref_joint_pos_indexes]),
        "robot_states": np.concatenate([fingers, position, quaternion]),
    }


def _hand_quaternion(env: Any) -> Array:
    w, x, y, z = env.sim.data.get_body_xquat(env.robots[0].robot_model.eef_name)
    return np.array([x, y, z, w])


def _is_grasped(env: Any, name: str) -> bool:
    """Whether both fingers touch the object; with any part of them, as a bottle's neck is held above the pads."""
    geoms = env.robots[0].gripper.important_geoms
    return bool(env._check_grasp([geoms["left_finger"], geoms["right_finger"]], env.objects_dict[name]))


def _room(env: Any, target: str, centre: Array, half: Array) -> Array:
    """See `PrivilegedState.target_room`: beside the target's middle, where a finger would go, and not below it."""
    room = np.full(3, ROOM_M)
    for name in {*env.objects_dict, *env.fixtures_dict} - {target}:
        other, extents = bounding_box(env, name)
        offset, gap = other - centre, np.abs(other - centre) - extents - half
        if offset[2] + extents[2] <= 0:
            continue
        if abs(offset[0]) < extents[0] + HAND_HALF_WIDTH_M:
            side = int(offset[1] > 0)
            room[side] = min(room[side], gap[1])
        if abs(offset[1]) < extents[1] + HAND_HALF_WIDTH_M and offset[0] < 0:
            room[2] = min(room[2], gap[0])
    return room


def bounding_box(env: Any, name: str) -> tuple[Array, Array]:
    """Centre and half extents, along the world's axes, of the collision geometry of an object or a fixture."""
    model, data = env.sim.model, env.sim.data
    thing = env.objects_dict.get(name) or env.fixtures_dict[name]
    ids = [model.geom_name2id(geom) for geom in thing.contact_geoms]
    half = np.stack([np.abs(data.geom_xmat[i].reshape(3, 3)) @ model.geom_size[i] for i in ids])
    low = (data.geom_xpos[ids] - half).min(axis=0)
    high = (data.geom_xpos[ids] + half).max(axis=0)
    return (low + high) / 2, (high - low) / 2


def _region(env: Any, name: str) -> tuple[Array, Array]:
    """Centre and half extents of a goal: a region of an object, or an object."""
    site = env.object_sites_dict.get(name)
    if site is None:
        return bounding_box(env, name)
    rotation = np.asarray(env.sim.data.get_site_xmat(name)).reshape(3, 3)
    return np.array(env.sim.data.get_site_xpos(name)), np.abs(rotation @ np.asarray(site.size))
