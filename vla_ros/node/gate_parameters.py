"""The parameters of command_gate: the robot."""

import math
from dataclasses import dataclass

import numpy as np

from vla_ros.action import ActionSpace, Rotation
from vla_ros.control.chunk_scheduler import LateSteps
from vla_ros.control.gate_config import ExecutionHorizon, GateConfig, HoldRules, Overlap, PoseRules
from vla_ros.control.limits import MotionLimits, StepLimits, Workspace
from vla_ros.control.pose import Pose
from vla_ros.node.output_rules import ArmOutputName, GripperOutputName, PoseSourceName, check_outputs
from vla_ros.node.parameters import ProcessParameters, parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class GateParameters(ProcessParameters):
    """Parameters of command_gate: the robot; see each description."""

    frame_id: str = parameter("frame in which deltas are expressed", read_only=True)
    rotation: Rotation = parameter(  # noqa: RUF009 (a field, not a shared default)
        "reading of the three rotation numbers: axis_angle or euler_xyz", read_only=True
    )
    control_rate_hz: float = parameter(
        "rows of a chunk per second: the policy's rate [Hz]", least=0.1, most=1000.0, read_only=True
    )
    command_rate_hz: float = parameter(
        "commands per second, a multiple of control_rate_hz: what the robot's controller wants, e.g. 100 for MoveIt "
        "Servo's 10 ms; rows are spread evenly [Hz]",
        least=0.1,
        most=1000.0,
        read_only=True,
    )
    execution_horizon: ExecutionHorizon = parameter(  # noqa: RUF009 (a field, not a shared default)
        "rows of a chunk that are executed: a number, full, half or one", least=1, most=10000, read_only=True
    )
    overlap: Overlap = parameter(  # noqa: RUF009 (a field, not a shared default)
        "a new chunk takes the former one's place (replace), or is averaged with it by time (temporal_ensemble)",
        read_only=True,
        default="replace",
    )
    temporal_ensemble_coeff: float = parameter(
        "weights of the temporal ensemble are exp(-coeff * age in rows), the oldest chunk's age being 0, as in ACT",
        least=-100.0,
        most=100.0,
        read_only=True,
        default=0.01,
    )
    late_steps: LateSteps = parameter(  # noqa: RUF009 (a field, not a shared default)
        "rows that are past when their chunk arrives: ledger (made up for, within the limits), skip or restart",
        read_only=True,
        default="ledger",
    )
    chunk_timeout_s: float = parameter(
        "without a due row for longer than this the arm is held [s]; in lockstep: wall time for which the world waits",
        least=0.001,
        most=600.0,
        read_only=True,
    )
    max_linear_speed_m_s: float = parameter(
        "limit of the end effector's speed [m/s]", least=1e-6, most=100.0, read_only=True
    )
    max_angular_speed_rad_s: float = parameter(
        "limit of the end effector's angular speed [rad/s]", least=1e-6, most=1000.0, read_only=True
    )
    max_linear_acceleration_m_s2: float = parameter(
        "limit of the change of the commanded velocity [m/s^2]", least=1e-6, most=1e6, read_only=True
    )
    max_angular_acceleration_rad_s2: float = parameter(
        "limit of the change of the commanded angular velocity [rad/s^2]", least=1e-6, most=1e6, read_only=True
    )
    max_step_m: float = parameter(
        "what a row of a chunk may move; a longer one is shortened and counted [m]",
        least=1e-6,
        most=10.0,
        read_only=True,
    )
    max_step_rad: float = parameter(
        "what a row of a chunk may turn; a longer one is cut and counted [rad]",
        least=1e-6,
        most=100.0,
        read_only=True,
    )
    max_clamped_fraction: float = parameter(
        "a chunk with a larger part of its rows beyond max_step is a fault (0 to 1)",
        least=0.0,
        most=1.0,
        read_only=True,
    )
    workspace_min_m: tuple[float, float, float] = parameter(
        "corner of a box, along the axes of the base frame, that the end effector does not leave; -.inf: no wall [m]",
        read_only=True,
        default=(-math.inf,) * 3,
    )
    workspace_max_m: tuple[float, float, float] = parameter(
        "the opposite corner; .inf: no wall [m]", read_only=True, default=(math.inf,) * 3
    )
    gripper_samples_to_open: int = parameter(
        "rows in succession that must want the gripper open before it opens",
        least=1,
        most=1000,
        read_only=True,
        default=1,
    )
    gripper_samples_to_close: int = parameter(
        "rows in succession that must want the gripper closed before it closes",
        least=1,
        most=1000,
        read_only=True,
        default=1,
    )
    hold_stop_s: float = parameter(
        "in a hold the arm slows down evenly to a stand within this time; 0: at once, as in a fault and on a new "
        "instruction [s]",
        least=0.0,
        most=5.0,
        read_only=True,
    )
    hold_recovery_s: float = parameter(
        "for how long acceptable chunks must have been arriving again before a hold ends [s]",
        least=0.0,
        most=60.0,
        read_only=True,
    )
    max_holds_per_minute: int = parameter(
        "more holds than this within a minute are a fault", least=0, most=10000, read_only=True
    )
    base_frame_id: str = parameter(
        "frame of the workspace and of poses; only a workspace and arm_output: pose need it", read_only=True, default=""
    )
    end_effector_frame_id: str = parameter(
        "frame of the end effector; deltas are along its axes where it is the frame_id too", read_only=True, default=""
    )
    arm_output: ArmOutputName = parameter(  # noqa: RUF009 (a field, not a shared default)
        "what the arm is commanded by: twist (TwistStamped on delta_twist_cmds, MoveIt Servo's speed_units), pose "
        "(PoseStamped on target_pose) or velocity_array (Float64MultiArray on velocity_commands: no one times it out)",
        read_only=True,
        default="twist",
    )
    gripper_output: GripperOutputName = parameter(  # noqa: RUF009 (a field, not a shared default)
        "what the gripper is commanded by: joint_state (JointState on gripper_command, every tick), joint_trajectory "
        "(JointTrajectory on gripper_trajectory), gripper_command or parallel_gripper_command (actions), or none",
        read_only=True,
        default="joint_state",
    )
    gripper_joint: str = parameter("the gripper controller's joint", read_only=True, default="")
    gripper_action: str = parameter("full name of the gripper's action", read_only=True, default="")
    gripper_open_position: float = parameter(
        "position of the gripper's joint where it is open [m or rad, as the joint's]",
        least=-10.0,
        most=10.0,
        read_only=True,
        default=0.0,
    )
    gripper_closed_position: float = parameter(
        "position of the gripper's joint where it is closed [m or rad, as the joint's]",
        least=-10.0,
        most=10.0,
        read_only=True,
        default=0.0,
    )
    gripper_time_s: float = parameter(
        "time that joint_trajectory gives the gripper to open or close [s]",
        least=0.001,
        most=60.0,
        read_only=True,
        default=1.0,
    )
    gripper_max_effort: float = parameter(
        "largest effort of the gripper's action [N or N m, as the joint's]",
        least=0.0,
        most=1000.0,
        read_only=True,
        default=0.0,
    )
    pose_source: PoseSourceName = parameter(  # noqa: RUF009 (a field, not a shared default)
        "where the end effector's pose comes from: start (start_pose, then what was commanded), topic (PoseStamped on "
        "end_effector_pose), tf, or none",
        read_only=True,
        default="none",
    )
    start_pose: tuple[float, float, float, float, float, float, float] = parameter(
        "where the end effector is when the gate is activated, in base_frame_id: x y z [m], quaternion x y z w",
        read_only=True,
        default=(0.0,) * 7,
    )
    pose_timeout_s: float = parameter(
        "poses older than this are refused, and without one for longer than this the arm is held [s]",
        least=0.001,
        most=10.0,
        read_only=True,
        default=0.2,
    )
    max_pose_error_m: float = parameter(
        "arm_output: pose: farther than this from its target the arm is held, and goes on from where it is [m]",
        least=1e-6,
        most=10.0,
        read_only=True,
        default=0.05,
    )
    max_pose_error_rad: float = parameter(
        "the same of its orientation [rad]", least=1e-6, most=math.pi, read_only=True, default=0.3
    )
    lockstep: bool = parameter(
        "one command per /clock message, at its stamp, instead of a wall-clock timer", read_only=True, default=False
    )
    autostart: bool = parameter("configure and activate at start, without a lifecycle manager", default=False)

    def __post_init__(self) -> None:
        ProcessParameters.__post_init__(self)
        if not self.frame_id:
            raise ValueError("frame_id: expected a frame name, got an empty string")
        self.workspace  # noqa: B018 (raises where its corners are none)
        check_outputs(self)
        if not math.isclose(self.ticks_per_row * self.control_rate_hz, self.command_rate_hz):
            raise ValueError(
                f"command_rate_hz: expected a multiple of control_rate_hz, {self.control_rate_hz}, "
                f"got {self.command_rate_hz}"
            )
        if self.lockstep and self.ticks_per_row != 1:
            raise ValueError(
                f"command_rate_hz: expected control_rate_hz, {self.control_rate_hz}, in lockstep, "
                f"got {self.command_rate_hz}"
            )

    @property
    def action_space(self) -> ActionSpace:
        """What the robot executes."""
        return ActionSpace(frame_id=self.frame_id, rotation=self.rotation, control_rate_hz=self.control_rate_hz)

    @property
    def ticks_per_row(self) -> int:
        """Commands per row of a chunk."""
        return round(self.command_rate_hz / self.control_rate_hz)

    @property
    def workspace(self) -> Workspace | None:
        """The box that the end effector does not leave, or None without any wall."""
        least, most = np.array(self.workspace_min_m), np.array(self.workspace_max_m)
        return Workspace(least_m=least, most_m=most) if np.isfinite([least, most]).any() else None

    @property
    def given_pose(self) -> Pose | None:
        """The `start_pose`, or None if it is not what the end effector's pose comes from."""
        if self.pose_source != "start":
            return None
        numbers = np.array(self.start_pose)
        return Pose(position_m=numbers[:3], quaternion_xyzw=numbers[3:])

    @property
    def pose_rules(self) -> PoseRules | None:
        """How the gate knows where the end effector is; None where nothing needs it."""
        if self.pose_source == "none":
            return None
        return PoseRules(
            is_in_tool_frame=self.frame_id == self.end_effector_frame_id,
            timeout_ns=None if self.pose_source == "start" else round(self.pose_timeout_s * 1e9),
            is_target=self.arm_output == "pose",
        )

    @property
    def gate_config(self) -> GateConfig:
        """The safety gate's own view of these parameters."""
        return GateConfig(
            action_space=self.action_space,
            ticks_per_row=self.ticks_per_row,
            execution_horizon=self.execution_horizon,
            chunk_timeout_ns=round(self.chunk_timeout_s * 1e9),
            motion=MotionLimits(
                max_linear_speed_m_s=self.max_linear_speed_m_s,
                max_angular_speed_rad_s=self.max_angular_speed_rad_s,
                max_linear_acceleration_m_s2=self.max_linear_acceleration_m_s2,
                max_angular_acceleration_rad_s2=self.max_angular_acceleration_rad_s2,
            ),
            steps=StepLimits(
                max_step_m=self.max_step_m,
                max_step_rad=self.max_step_rad,
                max_clamped_fraction=self.max_clamped_fraction,
            ),
            hold=HoldRules(
                stop_ticks=round(self.hold_stop_s * self.command_rate_hz),
                min_recovery_ns=round(self.hold_recovery_s * 1e9),
                max_per_minute=self.max_holds_per_minute,
            ),
            late_steps=self.late_steps,
            overlap=self.overlap,
            temporal_ensemble_coeff=self.temporal_ensemble_coeff,
            gripper_samples_to_open=self.gripper_samples_to_open,
            gripper_samples_to_close=self.gripper_samples_to_close,
            pose=self.pose_rules,
            workspace=self.workspace,
        )
