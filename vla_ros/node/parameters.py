"""The nodes' parameters: a frozen dataclass is the schema, read strictly from ROS and from parameter files alike."""

import dataclasses
import fnmatch
import itertools
import math
import sys
import typing
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from vla_ros import config
from vla_ros.action import ActionSpace, Rotation
from vla_ros.control.chunk_scheduler import LateSteps
from vla_ros.control.gate_config import ExecutionHorizon, GateConfig, HoldRules, Overlap, PoseRules
from vla_ros.control.limits import MotionLimits, StepLimits, Workspace
from vla_ros.control.pose import Pose
from vla_ros.errors import ConfigError
from vla_ros.node.output_rules import ArmOutputName, GripperOutputName, PoseSourceName, check_outputs
from vla_ros.node.scheduling import parse_cores

if TYPE_CHECKING:
    from rclpy.node import Node

T = TypeVar("T")

ImageTransport = Literal["raw", "compressed"]

ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides")
"""Parameters that rclpy itself declares."""


def parameter(
    description: str,
    *,
    least: float | None = None,
    most: float | None = None,
    read_only: bool = False,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A field of a schema: what it means with its unit, its inclusive range, and whether it is fixed from the start."""
    metadata = {"description": description, "least": least, "most": most, "read_only": read_only}
    return field(metadata=metadata) if default is dataclasses.MISSING else field(metadata=metadata, default=default)


def check_ranges(values: Any) -> None:
    """For a schema's `__post_init__`.

    Raises:
        ValueError: a number is not finite or outside its range.
    """
    for item in dataclasses.fields(values):
        value, least, most = getattr(values, item.name), item.metadata["least"], item.metadata["most"]
        if isinstance(value, bool | str) or least is None:
            continue
        if not (math.isfinite(value) and least <= value <= most):
            raise ValueError(f"{item.name}: expected {least} to {most}, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessParameters:
    """Parameters of every node's process; see each description."""

    cpu_affinity: str = parameter(
        "processor cores that the process may use, e.g. '0,2-3'; empty: all", read_only=True, default=""
    )
    thread_priority: int = parameter(
        "real-time priority (SCHED_FIFO) of the threads that move messages and tick, not of inference; 0: none",
        least=0,
        most=99,
        read_only=True,
        default=0,
    )
    nice: int = parameter(
        "niceness of the process; lower is more urgent; 0: as it was started",
        least=-20,
        most=19,
        read_only=True,
        default=0,
    )
    trace: str = parameter(
        "file for the times at which each image passed each stage, written at the end; empty: none",
        read_only=True,
        default="",
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        parse_cores(self.cpu_affinity)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyParameters(ProcessParameters):
    """Parameters of policy_node; see each description."""

    bundle: str = parameter("policy bundle: a folder, absolute or relative to the working directory")
    engine: str = parameter(
        "inference engine: cpu (the fastest on this CPU), onnx_cpu, openvino_cpu, onnx_cuda, onnx_tensorrt, tensorrt, "
        "tensorrt_rtx",
        default="cpu",
    )
    threads: int = parameter("threads of the inference engine", least=1, most=1024, default=1)
    inference_priority: int = parameter(
        "real-time priority (SCHED_FIFO) of the thread that waits for the engine, below thread_priority; 0: none. For "
        "engines that compute on a GPU: on a CPU it keeps everything else from its core while it computes",
        least=0,
        most=98,
        default=0,
    )
    image_transport: ImageTransport = parameter(  # noqa: RUF009 (a field, not a shared default)
        "raw (sensor_msgs/Image on image) or compressed (sensor_msgs/CompressedImage on image/compressed: JPEG or PNG)",
        read_only=True,
        default="raw",
    )
    image_timeout_s: float = parameter(
        "frames older than this are refused, and without an admissible one for longer than this the node holds: more "
        "than the camera's period [s]; not used in lockstep",
        least=0.001,
        most=60.0,
        default=0.2,
    )
    max_identical_frames: int = parameter(
        "more frames in a row than this with the same pixels are refused, as of a camera that froze; 0: never, for "
        "simulators, whose world may stand still",
        least=0,
        most=100000,
        default=0,
    )
    inference_timeout_s: float = parameter(
        "an inference that takes longer is given up and the node holds; three in a row are a fault [s]",
        least=0.001,
        most=600.0,
        default=2.0,
    )
    lockstep: bool = parameter(
        "a simulator owns the time and waits for the policy: stamps are checked for their order only",
        read_only=True,
        default=False,
    )
    autostart: bool = parameter("configure and activate at start, without a lifecycle manager", default=False)

    def __post_init__(self) -> None:
        ProcessParameters.__post_init__(self)
        if not self.bundle:
            raise ValueError("bundle: expected a folder, got an empty string")
        if self.inference_priority and self.inference_priority >= self.thread_priority:
            raise ValueError(
                f"inference_priority: expected less than thread_priority, {self.thread_priority}, "
                f"got {self.inference_priority}"
            )


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


def declare(node: "Node", cls: type[T]) -> T:
    """Declare every field of `cls` as a typed, described parameter and return the values in force.

    The node must have been made with `automatically_declare_parameters_from_overrides=True`: that is the public way
    to see the overrides that nobody declares, which rclpy otherwise ignores in silence.

    Raises:
        ConfigError: an unknown, missing or ill-typed parameter, or a value out of its range.
    """
    overrides = {
        name: list(value.value) if isinstance(value.value, array) else value.value
        for name, value in node.get_parameters_by_prefix("").items()
        if name.split(".")[0] not in ROS_OWN
    }
    values = config.build(overrides, cls, source_of(sys.argv[1:], node.get_name()))
    for name in overrides:
        node.undeclare_parameter(name)
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        value = getattr(values, item.name)
        ros_value = list(value) if isinstance(value, tuple) else value
        node.declare_parameter(item.name, ros_value, _descriptor(item), ignore_override=True)
    return values


def source_of(arguments: list[str], node_name: str) -> str:
    """Where a node's parameters come from, for errors: its parameter files, or its name where there are none."""
    places = [value for flag, value in itertools.pairwise(arguments) if flag == "--params-file"]
    if places and any(flag in ("-p", "--param") for flag in arguments):
        places.append("-p")
    return " or ".join(places) or node_name


def read_parameter_file(path: Path, node_name: str, cls: type[T]) -> T:
    """Read one node's parameters from a ROS parameter file, without ROS and as strictly as the node itself.

    Raises:
        ConfigError: no such file or node in it, an unknown, missing or ill-typed parameter, or a value out of range.
    """
    content = config.parse(config.read_text(path, "parameter file"), str(path))
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: top level: expected a mapping of node names, got {content!r}")
    values: dict[str, Any] = {}
    patterns = [key for key in content if _matches(str(key), node_name)]
    if not patterns:
        raise ConfigError(f"{path}: top level: expected a section /**/{node_name}, got {', '.join(map(str, content))}")
    for pattern in patterns:
        section = content[pattern]
        if not isinstance(section, dict) or set(section) != {"ros__parameters"}:
            raise ConfigError(f"{path}: {pattern}: expected exactly one key, ros__parameters, got {section!r}")
        given = section["ros__parameters"] or {}
        if not isinstance(given, dict):
            raise ConfigError(f"{path}: {pattern}.ros__parameters: expected a mapping, got {given!r}")
        values.update(given)
    own = {key: value for key, value in values.items() if key not in ROS_OWN}
    return config.build(own, cls, str(path), f"{patterns[-1]}.ros__parameters")


def _matches(pattern: str, node_name: str) -> bool:
    """Whether a section such as `/**/command_gate`, `/**` or `command_gate` is for a node in the root namespace."""
    last = pattern.rsplit("/", 1)[-1].replace("**", "*")
    return fnmatch.fnmatchcase(node_name, last)


def _descriptor(item: "dataclasses.Field[Any]") -> Any:
    # here and not above: reading a parameter file must not need ROS
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(
        name=item.name, description=item.metadata["description"], read_only=item.metadata["read_only"]
    )
    least, most = item.metadata["least"], item.metadata["most"]
    if typing.get_origin(item.type) is typing.Literal:
        descriptor.additional_constraints = " or ".join(map(str, typing.get_args(item.type)))
    if least is not None and item.type is int:
        descriptor.integer_range = [IntegerRange(from_value=least, to_value=most, step=1)]
    elif least is not None:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(least), to_value=float(most), step=0.0)]
    return descriptor
