"""What the arm's controller is told, tick by tick; a robot's YAML chooses one of these."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Float64MultiArray

from vla_ros.action import Command
from vla_ros.control.pose import Pose
from vla_ros.node.command_topic import CommandTopic
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.messages import message_from_pose, twist_from_command, velocities_from_command
from vla_ros.rotation import rotation_vector_between


class ArmOutput(ABC):
    """Carries the arm's part of every command to its controller, a stop like any other.

    Attributes:
        topic: where to.
    """

    KIND: type
    TOPIC: str

    def __init__(self, node: LifecycleNode, values: GateParameters) -> None:
        self._values = values
        self.topic = CommandTopic(node, self.KIND, self.TOPIC)

    def send(self, stamp_ns: int, command: Command, pose: Pose | None) -> None:
        """Publish the command of one tick; `pose` is where it leads the end effector, None where nobody knows."""
        message = self.message(stamp_ns, command, pose)
        if message is not None:
            self.topic.publish(message)

    @abstractmethod
    def message(self, stamp_ns: int, command: Command, pose: Pose | None) -> Any:
        """The command as this controller takes it, or None where it cannot be said."""

    @property
    def problem(self) -> str:
        """Why the arm may not move; empty if it may."""
        return self.topic.problem

    def reconciled(self, measured: Pose | None, target: Pose | None) -> Pose | None:
        """What to take for the end effector's pose, given a measured one and that of the former commands."""
        return measured


class TwistOutput(ArmOutput):
    """Velocities in the frame of the deltas [m/s, rad/s], for MoveIt Servo with `command_in_type: speed_units`."""

    KIND = TwistStamped
    TOPIC = "delta_twist_cmds"

    def message(self, stamp_ns: int, command: Command, pose: Pose | None) -> TwistStamped:
        return twist_from_command(command, stamp_ns, self._values.frame_id, self._values.command_rate_hz)


class VelocityArrayOutput(ArmOutput):
    """Six velocities for a Cartesian controller of the kind of forward_command_controller: vx vy vz wx wy wz.

    They carry neither stamp nor frame. Such a controller repeats the last ones for ever: the gate is its only watchdog,
    and if the gate's process dies nothing stops the arm. Use it only where controller or driver time out themselves.
    """

    KIND = Float64MultiArray
    TOPIC = "velocity_commands"

    def message(self, stamp_ns: int, command: Command, pose: Pose | None) -> Float64MultiArray:
        return velocities_from_command(command, self._values.command_rate_hz)


class PoseOutput(ArmOutput):
    """Target poses in the base frame, each the one before moved by the delta; a stop repeats the last one."""

    KIND = PoseStamped
    TOPIC = "target_pose"

    def __init__(self, node: LifecycleNode, values: GateParameters) -> None:
        super().__init__(node, values)
        self._astray = ""

    def message(self, stamp_ns: int, command: Command, pose: Pose | None) -> PoseStamped | None:
        return None if pose is None else message_from_pose(pose, stamp_ns, self._values.base_frame_id)

    @property
    def problem(self) -> str:
        return self.topic.problem or self._astray

    def reconciled(self, measured: Pose | None, target: Pose | None) -> Pose | None:
        """The target, as long as the arm is near it; else the measured pose, and the arm may not move on from there.

        A target that followed the measured pose would sink: a compliant arm hangs a little below where it is told to.
        """
        if measured is None or target is None:
            self._astray = self._astray if target is not None else ""
            return measured
        distance_m = float(np.linalg.norm(measured.position_m - target.position_m))
        turn = rotation_vector_between(target.quaternion_xyzw, measured.quaternion_xyzw)
        angle_rad = float(np.linalg.norm(turn))
        if distance_m <= self._values.max_pose_error_m and angle_rad <= self._values.max_pose_error_rad:
            self._astray = ""
            return target
        self._astray = f"the end effector is {distance_m:.3f} m and {angle_rad:.2f} rad from its target"
        return measured


ARM_OUTPUTS: dict[str, type[ArmOutput]] = {
    "twist": TwistOutput,
    "pose": PoseOutput,
    "velocity_array": VelocityArrayOutput,
}
"""By the name that `arm_output` gives them."""
