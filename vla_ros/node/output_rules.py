"""What the outputs of a robot's YAML need of each other; each rule is one line for whoever wrote it."""

from typing import TYPE_CHECKING, Literal

from vla_ros.errors import ContractError

if TYPE_CHECKING:
    from vla_ros.node.gate_parameters import GateParameters

ArmOutputName = Literal["twist", "pose", "velocity_array"]
GripperOutputName = Literal["none", "joint_state", "joint_trajectory", "gripper_command", "parallel_gripper_command"]
PoseSourceName = Literal["none", "start", "topic", "tf"]

WITH_JOINT = ("joint_trajectory", "parallel_gripper_command")
WITH_ACTION = ("gripper_command", "parallel_gripper_command")
WITH_POSITIONS = (*WITH_JOINT, "gripper_command")
NEEDED = {
    "start_pose": "x y z [m] and a quaternion x y z w",
    "gripper_joint": "the controller's joint",
    "gripper_action": "the action's full name",
    "gripper_max_effort": "more than 0",
    "gripper_open_position": "another position than gripper_closed_position",
}
"""What a parameter must be where it is needed; where it is not, it must not be given."""


def check_outputs(values: "GateParameters") -> None:
    """For a `__post_init__`.

    Raises:
        ValueError: an output lacks what it needs, or is given what it does not use.
        ContractError: the deltas are in a frame from which no pose can be told.
    """
    _check_lockstep(values)
    _check_pose_source(values)
    _check_gripper(values)


def _check_lockstep(values: "GateParameters") -> None:
    if not values.lockstep:
        return
    for name, expected in (("arm_output", "twist"), ("gripper_output", "joint_state"), ("pose_source", "none")):
        got = getattr(values, name)
        if got != expected:
            raise ValueError(f"{name}: expected {expected} in lockstep, as the simulator's bridge, got {got}")


def _check_pose_source(values: "GateParameters") -> None:
    is_needed = values.arm_output == "pose" or values.workspace is not None
    if is_needed and values.pose_source == "none":
        needs = "arm_output: pose" if values.arm_output == "pose" else "a workspace"
        raise ValueError(f"pose_source: expected start, topic or tf for {needs}, got none")
    if not is_needed and values.pose_source != "none":
        got = values.pose_source
        raise ValueError(f"pose_source: expected none without a workspace and arm_output: pose, got {got}")
    if values.pose_source != "none":
        _check_frames(values)
    is_start, why = values.pose_source == "start", f"pose_source: {values.pose_source}"
    _check_is_given(values, "start_pose", any(values.start_pose), is_start, why)
    try:
        values.given_pose  # noqa: B018 (raises where it is none)
    except ContractError as error:
        raise ContractError(f"start_pose: {error}") from error


def _check_frames(values: "GateParameters") -> None:
    base, end_effector = values.base_frame_id, values.end_effector_frame_id
    for name in ("base_frame_id", "end_effector_frame_id"):
        if not getattr(values, name):
            raise ValueError(
                f"{name}: expected a frame name for pose_source: {values.pose_source}, got an empty string"
            )
    if base == end_effector:
        raise ValueError(f"end_effector_frame_id: expected another frame than base_frame_id, got {base!r} for both")
    if values.frame_id not in (base, end_effector):
        raise ContractError(
            f"frame_id: expected {base!r}, the base_frame_id, or {end_effector!r}, the end_effector_frame_id, "
            f"got {values.frame_id!r}"
        )
    if values.frame_id == end_effector and values.rotation == "euler_xyz":
        raise ContractError(f"rotation: expected axis_angle for deltas in {end_effector!r}, got euler_xyz")


def _check_gripper(values: "GateParameters") -> None:
    output = values.gripper_output
    given = {
        "gripper_joint": (bool(values.gripper_joint), WITH_JOINT),
        "gripper_action": (bool(values.gripper_action), WITH_ACTION),
        "gripper_max_effort": (values.gripper_max_effort > 0, WITH_ACTION),
        "gripper_open_position": (values.gripper_open_position != values.gripper_closed_position, WITH_POSITIONS),
    }
    for name, (is_given, outputs) in given.items():
        _check_is_given(values, name, is_given, output in outputs, f"gripper_output: {output}")


def _check_is_given(values: "GateParameters", name: str, is_given: bool, is_needed: bool, why: str) -> None:
    if is_needed and not is_given:
        raise ValueError(f"{name}: expected {NEEDED[name]} for {why}, got {getattr(values, name)!r}")
    if is_given and not is_needed:
        raise ValueError(f"{name}: expected none for {why}, got {getattr(values, name)!r}")
