"""Everything between the gate and its robot, as one: an arm, a gripper, and where the end effector is."""

from collections.abc import Mapping

from rclpy.lifecycle import LifecycleNode

from vla_ros.action import Command
from vla_ros.control.gate_state import Inbox
from vla_ros.control.pose import Pose
from vla_ros.errors import ConfigError
from vla_ros.node.arm_output import ARM_OUTPUTS
from vla_ros.node.command_topic import CommandTopic
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.gripper_action import GripperCommandOutput, ParallelGripperCommandOutput
from vla_ros.node.gripper_output import GripperOutput, JointStateOutput, JointTrajectoryOutput, NoGripper
from vla_ros.node.pose_source import POSE_SOURCES

GRIPPER_OUTPUTS: dict[str, type[GripperOutput]] = {
    "none": NoGripper,
    "joint_state": JointStateOutput,
    "joint_trajectory": JointTrajectoryOutput,
    "gripper_command": GripperCommandOutput,
    "parallel_gripper_command": ParallelGripperCommandOutput,
}
"""By the name that `gripper_output` gives them."""


class RobotLink:
    """The outputs and the pose source that a robot's YAML names, from the node's configuration to its clean-up."""

    def __init__(self, node: LifecycleNode, values: GateParameters) -> None:
        """Join the ROS graph.

        Raises:
            ConfigError: an output or the pose source needs a ROS package that is not installed.
        """
        self._is_lockstep = values.lockstep
        self._poses = POSE_SOURCES[values.pose_source](node, values)
        try:
            self._gripper = GRIPPER_OUTPUTS[values.gripper_output](node, values)
        except ConfigError:
            self._poses.destroy()
            raise
        self._arm = ARM_OUTPUTS[values.arm_output](node, values)

    @property
    def topics(self) -> tuple[str, ...]:
        """Full names of those of which the gate must be the only publisher."""
        return tuple(topic.name for topic in self._topics)

    @property
    def counts(self) -> Mapping[str, int]:
        """Measured poses that were refused, by reason."""
        return {f"pose refused: {reason}": count for reason, count in self._poses.refused.items()}

    def start(self) -> None:
        """Forget what the robot was told and what it said: at the node's activation."""
        self._gripper.start()
        self._poses.start()

    def news(self, target: Pose | None) -> Inbox:
        """What the gate must know of the robot before a tick.

        Args:
            target: where the former commands led the end effector, or None.
        """
        pose = self._arm.reconciled(self._poses.take(), target)
        # a simulator's bridge sees for itself that all are there
        blocked = "" if self._is_lockstep else self._arm.problem or self._gripper.problem
        return Inbox(pose=pose, pose_stamp_ns=self._poses.stamp_ns, blocked=blocked)

    def send(self, stamp_ns: int, command: Command, pose: Pose | None) -> None:
        """Command the robot for one tick.

        Args:
            stamp_ns: the tick's [ns].
            command: a stop is sent like any other.
            pose: where the command leads the end effector, in the base frame; None where nobody knows.
        """
        self._arm.send(stamp_ns, command, pose)
        self._gripper.send(stamp_ns, command)

    def is_delivered(self, within_s: float) -> bool:
        """Wait until every receiver has what was sent; False if one has not in time."""
        return all(topic.is_delivered(within_s) for topic in self._topics)

    def destroy(self) -> None:
        """Leave the ROS graph."""
        self._arm.topic.destroy()
        self._gripper.destroy()
        self._poses.destroy()

    @property
    def _topics(self) -> tuple[CommandTopic, ...]:
        return (self._arm.topic, *self._gripper.topics)
