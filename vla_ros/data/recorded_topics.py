"""The topics of a recorded demonstration: what `vla-ros record` writes and `data.mcap` reads."""

from dataclasses import dataclass, fields

from typing_extensions import Self

ROLES = {
    "image": ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"),
    "instruction": ("std_msgs/msg/String",),
    "commands": ("geometry_msgs/msg/TwistStamped",),
    "pose": ("geometry_msgs/msg/PoseStamped",),
    "gripper": ("sensor_msgs/msg/JointState",),
}
"""Message types that each of the topics may have."""


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

    image: str = "/image"
    instruction: str = "/instruction"
    commands: str | None = "/delta_twist_cmds"
    pose: str | None = None
    gripper: str = "/gripper_command"

    def __post_init__(self) -> None:
        if self.commands is None and self.pose is None:
            raise ValueError("commands: expected a topic where `pose` has none, got nothing")
        names = list(self.by_name())
        for name in names:
            if name == "/" or " " in name:
                raise ValueError(f"topics: expected a topic name, got {name!r}")
        given = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        if len(names) != len(given):
            raise ValueError(f"topics: expected another topic for each of {', '.join(given)}, got {', '.join(names)}")

    @classmethod
    def found_in(cls, types: dict[str, str]) -> Self:
        """Of a recording with these topics and types: the default names, or the only topic of a fitting type."""
        defaults, found = cls(), {}
        for role, fitting in ROLES.items():
            names = [name for name, kind in types.items() if kind in fitting]
            if getattr(defaults, role) not in names and len(names) == 1:
                found[role] = names[0]
        return cls(**found)

    def by_name(self) -> dict[str, str]:
        """The role of each topic, by its full name."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"/" + name.lstrip("/"): role for role, name in given.items() if name is not None}

    def name(self, role: str) -> str:
        """The full name of the topic that has this role."""
        return next(name for name, other in self.by_name().items() if other == role)
