"""Teleoperated demonstrations recorded as MCAP, by `vla-ros record` or by rosbag2; no ROS needed.

A file, or a rosbag2 folder (`metadata.yaml` with its `*.mcap`), is one episode with one instruction. Its messages come
when they come; they are read at ticks of the control rate, from the first moment at which all are known:

    image     the newest that was captured at or before the tick, by its header's stamp
    action    what the arm does from the tick to the next
      commands  TwistStamped in m/s and rad/s, as `command_gate` and teleoperation send it: each velocity holds until
                the next one or `command_timeout_s`, and is integrated over the period
      poses     where only the end effector's pose was recorded, the demonstrated motion is the action: p[t+1] - p[t]
                and R[t+1] R[t]^T along the base's axes, poses interpolated between their stamps
    gripper   1 open, 0 closed, from a JointState: the command in force in the middle of the period, or with poses the
              state at its end

All deltas are in the frame that the messages' headers name, which must be the robot's base.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from typing_extensions import Self

from vla_ros.action import ActionSpace, Rotation
from vla_ros.config import check_numbers
from vla_ros.data.checks import checked_actions
from vla_ros.data.conventions import ActionConvention
from vla_ros.data.episode import Episode, EpisodeDataset
from vla_ros.data.mcap_files import channels, files_of, list_episodes
from vla_ros.data.mcap_frames import McapFrames
from vla_ros.data.mcap_messages import read_messages, readable
from vla_ros.data.mcap_recording import Recording, silent
from vla_ros.data.recorded_topics import RecordedTopics
from vla_ros.errors import DatasetError

ActionFrom = Literal["commands", "poses"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class McapSource:
    """Recordings of one robot.

    Attributes:
        path: an MCAP file, a rosbag2 folder, a folder of either, or a glob pattern.
        control_rate_hz: the rate at which actions are made of the recording, and executed later [Hz].
        rotation: how the actions' rotations are written.
        action_from: `commands` takes what the operator commanded, `poses` where the end effector went.
        topics: what was recorded under which name.
        gripper_joint: the gripper's name in its JointState; other joints are passed over.
        gripper_open, gripper_closed: its position at either end.
        command_timeout_s: how long a velocity holds without a new one (MoveIt Servo's `incoming_command_timeout`) [s].
        max_age_s: the oldest image that a tick may see, and the longest gap between poses [s].
    """

    path: Path
    control_rate_hz: float = 20.0
    rotation: Rotation = "axis_angle"
    action_from: ActionFrom = "commands"
    topics: RecordedTopics = field(default_factory=RecordedTopics)
    gripper_joint: str = "gripper"
    gripper_open: float = 1.0
    gripper_closed: float = 0.0
    command_timeout_s: float = 0.1
    max_age_s: float = 0.2

    def __post_init__(self) -> None:
        check_numbers(self, "control_rate_hz", "command_timeout_s", "max_age_s", above=0)
        check_numbers(self, "gripper_open", "gripper_closed")
        if self.gripper_open == self.gripper_closed:
            raise ValueError(f"gripper_open: expected other than gripper_closed, got {self.gripper_open} for both")
        if getattr(self.topics, self.motion_role) is None:
            raise ValueError(f"topics.{self.motion_role}: expected a topic, got nothing")

    @property
    def motion_role(self) -> str:
        """Which of the topics says how the arm moves."""
        return "commands" if self.action_from == "commands" else "pose"

    @classmethod
    def detect(cls, path: Path) -> Self | None:
        """See `sources.Source`; topics of other names are found by their types where there is only one of a type."""
        episodes = list_episodes(path)
        if not episodes:
            return None
        types = _first_of(episodes, lambda episode: channels(files_of(episode)[0]))
        topics = RecordedTopics.found_in(types)
        is_commanded = topics.pose is None or topics.commands in types
        return cls(path=path, action_from="commands" if is_commanded else "poses", topics=topics)

    def open(self) -> "McapDataset":
        """Raises DatasetError if there is nothing to read."""
        return McapDataset(self)


class McapDataset(EpisodeDataset):
    """The recordings of one robot, in the order of their names.

    A recording that cannot be read counts as one episode, which is refused when it is asked for.

    Raises:
        DatasetError: nothing there, or no recording says in which frame the arm moves.
    """

    def __init__(self, source: McapSource) -> None:
        self.source = str(source.path)
        self._source = source
        self._topics = source.topics.by_name()
        self._motion = source.topics.name(source.motion_role)
        self._episodes = list_episodes(source.path)
        if not self._episodes:
            raise DatasetError(f"{source.path}: expected a recording (*.mcap), got nothing; try `vla-ros record`")
        self.action = ActionSpace(
            frame_id=_first_of(self._episodes, self._frame_id),
            rotation=source.rotation,
            control_rate_hz=source.control_rate_hz,
        )

    def __len__(self) -> int:
        return len(self._episodes)

    def episode(self, index: int) -> Episode:
        """See `EpisodeDataset.episode`."""
        name = str(self._episodes[index])
        recording = Recording.read(name, files_of(self._episodes[index]), self._topics, self._source)
        if recording.motion.frame_id != self.action.frame_id:
            place, got = recording.motion.places[0], recording.motion.frame_id
            raise place.error("header.frame_id", f"{self.action.frame_id!r} as in the first recording", repr(got))
        ticks_ns = recording.ticks(self.action.period_ns)
        shown = recording.shown_at(ticks_ns)
        convention = ActionConvention(
            m_per_unit=1, rad_per_unit=1, gripper_open=1, gripper_closed=0, is_bounded=False, action=self.action
        )
        rows = recording.actions(ticks_ns, self.action.period_ns, self.action.rotation)
        return Episode(
            name=name,
            instruction=recording.instruction,
            actions=checked_actions(rows, convention, f"{name}: actions"),
            frames=McapFrames(tuple(recording.images.places[k] for k in shown), recording.images.stamps_ns[shown]),
        )

    def _frame_id(self, episode: Path) -> str:
        """Of the first message about the arm's motion."""
        files = files_of(episode)
        for _, place, message in read_messages(files, {self._motion: self._source.motion_role}):
            with readable(place):
                frame_id = str(message.header.frame_id)
            if not frame_id:
                raise place.error("header.frame_id", "the robot's base frame", "an empty string")
            return frame_id
        raise silent(str(episode), self._motion, files)


def _first_of(episodes: list[Path], read: Callable[[Path], T]) -> T:
    """What the first recording that can be read says; raises DatasetError if none can be."""
    errors = []
    for episode in episodes:
        try:
            return read(episode)
        except DatasetError as error:
            errors.append(error)
    raise errors[0]
