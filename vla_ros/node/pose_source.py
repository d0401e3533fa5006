"""Where the gate learns where the end effector is; a robot's YAML chooses one of these."""

import importlib
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time

from vla_ros.control.pose import Pose
from vla_ros.control.pose_gate import PoseGate
from vla_ros.control.repeat_filter import RepeatFilter
from vla_ros.errors import ConfigError, ContractError, ObservationError
from vla_ros.node import qos
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.messages import message_from_transform, ns_from_stamp, pose_from_message


class PoseSource(ABC):
    """Gives each pose once.

    Attributes:
        refused: measured poses that were refused, by reason.
        stamp_ns: when the newest pose was measured; None where poses are given, not measured [ns].
    """

    def __init__(self, node: LifecycleNode, values: GateParameters) -> None:
        self._node = node
        self._values = values
        self.stamp_ns: int | None = None
        self.refused: Counter[str] = Counter()

    def start(self) -> None:  # noqa: B027 (some have nothing to forget)
        """Forget what was measured before: at the node's activation."""

    @abstractmethod
    def take(self) -> Pose | None:
        """The newest pose, base_from_end_effector, or None if there is none since the last call."""

    def destroy(self) -> None:  # noqa: B027 (some are not in it)
        """Leave the ROS graph."""


class NoPoseSource(PoseSource):
    """Nothing needs to know."""

    def take(self) -> Pose | None:
        return None


class StartPose(PoseSource):
    """The pose of the YAML, which is the end effector's at the node's activation; commands are added from there on."""

    def start(self) -> None:
        self._pose: Pose | None = self._values.given_pose

    def take(self) -> Pose | None:
        pose, self._pose = self._pose, None
        return pose


class MeasuredPose(PoseSource):
    """Poses that a robot's driver tells, of which each is judged."""

    def __init__(self, node: LifecycleNode, values: GateParameters, source: str) -> None:
        super().__init__(node, values)
        self._gate = PoseGate(
            base_frame_id=values.base_frame_id,
            max_age_ns=round(values.pose_timeout_s * 1e9),
            now_ns=lambda: int(node.get_clock().now().nanoseconds),
            source=source,
        )
        self.refused = self._gate.refused
        self._log_filter = RepeatFilter(now_ns=lambda: int(node.get_clock().now().nanoseconds))

    def _admitted(self, message: PoseStamped) -> Pose | None:
        try:
            pose = self._read(message)
            stamp_ns = ns_from_stamp(message.header.stamp)
            self._gate.check(message.header.frame_id, stamp_ns)
        except ObservationError as refusal:
            if self._log_filter.passes(refusal.reason):
                self._node.get_logger().error(f"refused: {refusal}")
            return None
        self.stamp_ns = stamp_ns
        return pose

    def _read(self, message: PoseStamped) -> Pose:
        try:
            return pose_from_message(message)
        except ContractError as error:
            raise self._gate.refusal("pose", "finite numbers and a unit quaternion", error) from error


class PoseTopic(MeasuredPose):
    """PoseStamped on `end_effector_pose`, from a pose broadcaster of ros2_control, whatever its quality of service."""

    def __init__(self, node: LifecycleNode, values: GateParameters) -> None:
        super().__init__(node, values, "end_effector_pose")
        self._newest: Pose | None = None
        self._subscription = node.create_subscription(PoseStamped, "end_effector_pose", self._on_pose, qos.BEST_EFFORT)

    def start(self) -> None:
        self._newest = None

    def take(self) -> Pose | None:
        pose, self._newest = self._newest, None
        return pose

    def destroy(self) -> None:
        self._node.destroy_subscription(self._subscription)

    def _on_pose(self, message: PoseStamped) -> None:
        pose = self._admitted(message)
        self._newest = self._newest if pose is None else pose


class PoseTransform(MeasuredPose):
    """The transform base_from_end_effector of /tf, looked up at every tick."""

    def __init__(self, node: LifecycleNode, values: GateParameters) -> None:
        """Listen to /tf.

        Raises:
            ConfigError: tf2_ros is not installed.
        """
        super().__init__(node, values, "tf")
        self._tf = tf_module()
        self._buffer = self._tf.Buffer()
        self._listener = self._tf.TransformListener(self._buffer, node)
        self._stamp_ns = 0

    def take(self) -> Pose | None:
        base, end_effector = self._values.base_frame_id, self._values.end_effector_frame_id
        try:
            transform = self._buffer.lookup_transform(base, end_effector, Time())  # the newest one
        except self._tf.TransformException as error:
            self._complain(str(error))
            return None
        stamp_ns = ns_from_stamp(transform.header.stamp)
        if stamp_ns == self._stamp_ns:
            return None
        self._stamp_ns = stamp_ns
        return self._admitted(message_from_transform(transform))

    def destroy(self) -> None:
        self._listener.unregister()

    def _complain(self, text: str) -> None:
        self.refused["no transform"] += 1
        if self._log_filter.passes("no transform"):
            self._node.get_logger().warning(f"tf: {text}")


def tf_module() -> Any:
    """The module tf2_ros.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("tf2_ros")
    except ImportError as error:
        raise ConfigError(
            f"pose_source: expected tf2_ros for tf, got: {error}; "
            "install it: sudo apt install ros-$ROS_DISTRO-tf2-ros-py"
        ) from error


POSE_SOURCES: dict[str, type[PoseSource]] = {
    "none": NoPoseSource,
    "start": StartPose,
    "topic": PoseTopic,
    "tf": PoseTransform,
}
"""By the name that `pose_source` gives them."""
