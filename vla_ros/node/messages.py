"""ROS messages to the package's own types and back; no message passes a node unread."""

from array import array

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import PoseStamped, TransformStamped, TwistStamped
from numpy.typing import NDArray
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.action import ACTION_NAMES, ActionChunk, Command, Rotation
from vla_ros.control.pose import Pose
from vla_ros.errors import ContractError

GRIPPER_NAME = "gripper"
CHUNK_NAMES: dict[Rotation, tuple[str, ...]] = {
    "axis_angle": ACTION_NAMES,
    "euler_xyz": ("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
}
"""The joint_names of a chunk say how its rotation is read, so that no robot reads it otherwise."""
VELOCITY_NAMES = ("vx", "vy", "vz", "wx", "wy", "wz")
NS = 1_000_000_000


def ns_from_stamp(stamp: Time | Duration) -> int:
    """A ROS time or duration [ns]."""
    return int(stamp.sec) * NS + int(stamp.nanosec)


def stamp_from_ns(stamp_ns: int) -> Time:
    """[ns] to a ROS time."""
    return Time(sec=stamp_ns // NS, nanosec=stamp_ns % NS)


def image_from_pixels(pixels: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> Image:
    """Uint8 [height, width, 3], RGB, to an `rgb8` message."""
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding="rgb8", step=pixels.shape[1] * 3)
    message.header.stamp = stamp_from_ns(stamp_ns)
    message.header.frame_id = frame_id
    message.data = array("B", pixels.tobytes())  # an ndarray here costs 49 ms at 640x480
    return message


def trajectory_from_chunk(chunk: ActionChunk) -> JointTrajectory:
    """A chunk as a standard, recordable message that no joint controller takes for its own."""
    message = JointTrajectory(joint_names=list(CHUNK_NAMES[chunk.rotation]))
    message.header.stamp = stamp_from_ns(chunk.stamp_ns)
    message.header.frame_id = chunk.frame_id
    for k, row in enumerate(chunk.actions.astype(np.float64)):
        start_ns = k * chunk.period_ns
        message.points.append(
            JointTrajectoryPoint(
                positions=row.tolist(), time_from_start=Duration(sec=start_ns // NS, nanosec=start_ns % NS)
            )
        )
    return message


def chunk_from_trajectory(message: JointTrajectory, default_period_ns: int) -> ActionChunk:
    """Read a chunk; `default_period_ns` is the period of a chunk of one row, which cannot tell it [ns].

    Raises:
        ContractError: wrong names, shape, times or numbers; the whole chunk is refused.
    """
    names = tuple(message.joint_names)
    rotation = next((rotation for rotation, known in CHUNK_NAMES.items() if names == known), None)
    if rotation is None:
        expected_names = " or ".join(str(list(known)) for known in CHUNK_NAMES.values())
        raise ContractError(f"chunk: joint_names: expected {expected_names}, got {list(names)}")
    for k, point in enumerate(message.points):
        expected, got = len(ACTION_NAMES), len(point.positions)
        if got != expected:
            raise ContractError(f"chunk: points[{k}].positions: expected {expected}, got {got}")
    times = [ns_from_stamp(point.time_from_start) for point in message.points]
    period_ns = times[1] if len(times) > 1 else default_period_ns
    for k, time_ns in enumerate(times):
        if time_ns != k * period_ns:
            due_s, got_s = k * period_ns / NS, time_ns / NS
            raise ContractError(f"chunk: points[{k}].time_from_start: expected {due_s} s, got {got_s} s")
    rows = np.array([point.positions for point in message.points], np.float64).reshape(-1, len(ACTION_NAMES))
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused as that
        actions = rows.astype(np.float32)
    return ActionChunk(
        actions=actions,
        stamp_ns=ns_from_stamp(message.header.stamp),
        period_ns=period_ns,
        frame_id=message.header.frame_id,
        rotation=rotation,
    )


def twist_from_command(command: Command, stamp_ns: int, frame_id: str, rate_hz: float) -> TwistStamped:
    """The delta of one period as a velocity, which is what MoveIt Servo takes [m/s, rad/s]."""
    message = TwistStamped()
    message.header.stamp = stamp_from_ns(stamp_ns)
    message.header.frame_id = frame_id
    velocity = (command.delta * rate_hz).tolist()
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = velocity
    return message


def velocities_from_command(command: Command, rate_hz: float) -> Float64MultiArray:
    """The delta of one period as six numbers [m/s, rad/s]; neither time nor frame goes with them."""
    size = len(VELOCITY_NAMES)
    dimension = MultiArrayDimension(label=",".join(VELOCITY_NAMES), size=size, stride=size)
    data = array("d", (command.delta * rate_hz).tolist())
    return Float64MultiArray(layout=MultiArrayLayout(dim=[dimension]), data=data)


def message_from_pose(pose: Pose, stamp_ns: int, frame_id: str) -> PoseStamped:
    """A pose in the base frame `frame_id`."""
    message = PoseStamped()
    message.header.stamp = stamp_from_ns(stamp_ns)
    message.header.frame_id = frame_id
    point, turn = message.pose.position, message.pose.orientation
    point.x, point.y, point.z = pose.position_m.tolist()
    turn.x, turn.y, turn.z, turn.w = pose.quaternion_xyzw.tolist()
    return message


def pose_from_message(message: PoseStamped) -> Pose:
    """Read a pose; its frame and its stamp are for the caller to judge.

    Raises:
        ContractError: a number is not finite, or the quaternion's length is not 1.
    """
    point, turn = message.pose.position, message.pose.orientation
    return Pose(
        position_m=np.array([point.x, point.y, point.z]), quaternion_xyzw=np.array([turn.x, turn.y, turn.z, turn.w])
    )


def message_from_transform(transform: TransformStamped) -> PoseStamped:
    """Where a frame is in its parent, as a pose in that parent."""
    message = PoseStamped(header=transform.header)
    offset, message.pose.orientation = transform.transform.translation, transform.transform.rotation
    message.pose.position.x, message.pose.position.y, message.pose.position.z = offset.x, offset.y, offset.z
    return message


def trajectory_from_position(joint: str, position: float, duration_s: float) -> JointTrajectory:
    """One joint to one position [m or rad], reached `duration_s` after the controller has the message.

    A stamp of zero says "from now on"; another one would be compared with the controller's clock.
    """
    duration_ns = round(duration_s * NS)
    duration = Duration(sec=duration_ns // NS, nanosec=duration_ns % NS)
    return JointTrajectory(
        joint_names=[joint], points=[JointTrajectoryPoint(positions=[position], time_from_start=duration)]
    )


def joint_state_from_command(command: Command, stamp_ns: int) -> JointState:
    """The gripper opening; without any name where none was commanded yet."""
    message = JointState()
    message.header.stamp = stamp_from_ns(stamp_ns)
    if command.gripper is not None:
        message.name = [GRIPPER_NAME]
        message.position = [float(command.gripper)]
    return message


def command_from_messages(twist: TwistStamped, gripper: JointState, rate_hz: float) -> Command:
    """What the robot is to do for one period.

    Raises:
        ContractError: the gripper message names another joint.
    """
    linear, angular = twist.twist.linear, twist.twist.angular
    velocity = np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])
    if not gripper.name:
        return Command(delta=velocity / rate_hz, gripper=None)
    if list(gripper.name) != [GRIPPER_NAME] or len(gripper.position) != 1:
        raise ContractError(f"gripper_command: name: expected ['{GRIPPER_NAME}'], got {list(gripper.name)}")
    return Command(delta=velocity / rate_hz, gripper=float(gripper.position[0]))
