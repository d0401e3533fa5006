"""The topics of a recording: what `vla-ros record` writes, `data.mcap` trains on and `vla-ros replay` plays again."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import ClassVar

from typing_extensions import Self

ROLES = {
    "image": ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"),
    "instruction": ("std_msgs/msg/String",),
    "commands": ("geometry_msgs/msg/TwistStamped",),
    "pose": ("geometry_msgs/msg/PoseStamped",),
    "gripper": ("sensor_msgs/msg/JointState",),
    "chunks": ("trajectory_msgs/msg/JointTrajectory",),
    "policy_instruction": ("std_msgs/msg/String",),
    "policy_state": ("std_msgs/msg/String",),
    "gate_state": ("std_msgs/msg/String",),
    "target_pose": ("geometry_msgs/msg/PoseStamped",),
    "velocity_commands": ("std_msgs/msg/Float64MultiArray",),
    "gripper_trajectory": ("trajectory_msgs/msg/JointTrajectory",),
    "emergency_stop": ("std_msgs/msg/Bool",),
    "diagnostics": ("diagnostic_msgs/msg/DiagnosticArray",),
}
"""Message types that each of the topics may have."""

LATCHED = ("instruction", "policy_instruction", "policy_state", "gate_state", "emergency_stop")
SHARED = ("diagnostics",)
"""What was said last on these, on a shared one by each node, holds on: a recording that begins later begins with it."""

ARM_OUTPUTS = ("commands", "target_pose", "velocity_commands")
"""command_gate commands the arm on one of these: a recording has one of them, and lacks the first if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTopics:
    """Names of topics; one without a slash in front is in the root namespace.

    Attributes:
        image: the camera, raw or compressed.
        instruction: what the robot is told.
        commands: end-effector velocities that the operator commands [m/s, rad/s]; None if there are none.
        pose: of the end effector in the robot's base frame; None if there is none.
        gripper: a JointState with the gripper's commanded or measured position.
    """

    MOTION: ClassVar[tuple[str, ...]] = ("commands", "pose")
    """One of these says how the arm moves."""

    OPTIONAL: ClassVar[tuple[str, ...]] = ()
    """Nothing lacks where these are silent."""

    image: str = "/image"
    instruction: str = "/instruction"
    commands: str | None = "/delta_twist_cmds"
    pose: str | None = None
    gripper: str = "/gripper_command"

    def __post_init__(self) -> None:
        first, *others = self.MOTION
        if all(getattr(self, role) is None for role in self.MOTION):
            raise ValueError(f"{first}: expected a topic where `{'`, `'.join(others)}` has none, got nothing")
        names = list(self.by_name())
        for name in names:
            if name == "/" or " " in name:
                raise ValueError(f"topics: expected a topic name, got {name!r}")
        given = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        if len(names) != len(given):
            raise ValueError(f"topics: expected another topic for each of {', '.join(given)}, got {', '.join(names)}")

    @classmethod
    def found_in(cls, types: dict[str, str]) -> Self:
        """Of a recording with these topics and types: the default names, or the only other topic of a fitting type.

        Where several roles lack their topic, the first one has it.
        """
        usual = {field.name: getattr(cls(), field.name) for field in fields(cls)}
        others = {name: kind for name, kind in types.items() if name not in usual.values()}
        found = {}
        for role, name in usual.items():
            names = [other for other, kind in others.items() if kind in ROLES[role]]
            if name not in types and len(names) == 1:
                found[role] = names[0]
                del others[names[0]]
        return cls(**found)

    def is_needed(self, role: str, heard: Collection[str]) -> bool:
        """Whether a recording lacks something without this topic, given the roles of those that had messages."""
        outputs = [output for output in ARM_OUTPUTS if getattr(self, output, None) is not None]
        if role in outputs:
            return role == outputs[0] and not set(outputs) & set(heard)
        return role not in self.OPTIONAL

    def by_name(self) -> dict[str, str]:
        """The role of each topic, by its full name."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"/" + name.lstrip("/"): role for role, name in given.items() if name is not None}

    def name(self, role: str) -> str:
        """The full name of the topic that has this role."""
        return next(name for name, other in self.by_name().items() if other == role)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTopics(RecordedTopics):
    """Those of a policy's run: a demonstration's, and all that policy_node and command_gate say beside them.

    Attributes:
        chunks: what the policy answered to images.
        policy_instruction: the instruction that it worked on.
        policy_state, gate_state: the nodes' own words.
        target_pose, velocity_commands: where the gate sends the arm, on robots that take these.
        gripper_trajectory: what a gripper with a trajectory controller is told.
        emergency_stop: pressed or not.
        diagnostics: counts of both nodes, and which bundle runs.
    """

    MOTION: ClassVar[tuple[str, ...]] = (*ARM_OUTPUTS, "pose")
    OPTIONAL: ClassVar[tuple[str, ...]] = ("gripper", "gripper_trajectory", "emergency_stop")

    chunks: str = "/policy_node/action_chunk"
    policy_instruction: str = "/policy_node/instruction"
    policy_state: str = "/policy_node/state"
    gate_state: str = "/command_gate/state"
    target_pose: str | None = "/target_pose"
    velocity_commands: str | None = "/velocity_commands"
    gripper_trajectory: str = "/gripper_trajectory"
    emergency_stop: str = "/emergency_stop"
    diagnostics: str = "/diagnostics"
