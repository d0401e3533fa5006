"""One recorded demonstration at the ticks of a control rate; see `data.mcap` for what is read how."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from vla_ros.action import Rotation
from vla_ros.data.checks import checked_instruction
from vla_ros.data.mcap_files import channels
from vla_ros.data.mcap_messages import (
    NS,
    Place,
    Track,
    TrackBuilder,
    image_of,
    pose_of,
    read_messages,
    readable,
    twist_of,
)
from vla_ros.data.resample import motion_of_poses, motion_of_twists, newest_at, with_rotation
from vla_ros.errors import DatasetError

if TYPE_CHECKING:
    from vla_ros.data.mcap import McapSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All of one recording but its pixels.

    Attributes:
        name: begins errors that concern no single message.
        images, motion, gripper: their tracks; the gripper's is its opening, 1 open.
        instruction: the only one from the first image on.
        told_ns: when it was given [ns].
    """

    name: str
    images: Track
    motion: Track
    gripper: Track
    instruction: str
    told_ns: int
    source: "McapSource"

    @classmethod
    def read(cls, name: str, files: tuple[Path, ...], topics: dict[str, str], source: "McapSource") -> Self:
        """Raises DatasetError if a topic is silent, a message is bad, or there is more than one instruction."""
        gripper = GripperReader(source)
        builders = {
            "image": TrackBuilder(image_of),
            source.motion_role: TrackBuilder(twist_of if source.motion_role == "commands" else pose_of),
            "gripper": TrackBuilder(gripper.opening_of),
        }
        instructions: list[tuple[str, Place]] = []
        needed = {topic: role for topic, role in topics.items() if role == "instruction" or role in builders}
        for role, place, message in read_messages(files, needed):
            with readable(place):
                if role != "instruction":
                    builders[role].add(message, place)
                elif message.data.strip():
                    instructions.append((checked_instruction(message.data, f"{place}: data"), place))
        tracks = {}
        for topic, role in needed.items():
            track = builders[role].track() if role in builders else None
            if track is None and (role in builders or not instructions):
                raise silent(name, topic, files, gripper.joints if role == "gripper" else ())
            if track is not None:
                tracks[role] = track
        text, first = _the_only(instructions, tracks["image"].places[0].publish_time_ns)
        return cls(
            name=name,
            images=tracks["image"],
            motion=tracks[source.motion_role],
            gripper=tracks["gripper"],
            instruction=text,
            told_ns=first.log_time_ns,
            source=source,
        )

    def ticks(self, period_ns: int) -> NDArray[np.int64]:
        """The ticks at which everything is known [ns].

        Raises:
            DatasetError: there is no such time; what each topic covers is listed.
        """
        tracks = {"image": self.images, self.source.motion_role: self.motion, "gripper": self.gripper}
        start_ns = max(self.told_ns, *(int(track.stamps_ns[0]) for track in tracks.values()))
        end_ns = int(self.images.stamps_ns[-1])
        if self.source.action_from == "poses":
            end_ns = min(end_ns, int(self.motion.stamps_ns[-1]) - period_ns)
        if start_ns > end_ns:
            spans = [f"{name} {_span(track, self.told_ns)}" for name, track in tracks.items()]
            raise DatasetError(
                f"{self.name}: expected a time with all of image, motion, gripper and instruction, got "
                f"{', '.join(spans)} s after the instruction"
            )
        return np.arange(start_ns, end_ns + 1, period_ns, dtype=np.int64)

    def shown_at(self, ticks_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which image the policy would see at each tick.

        Raises:
            DatasetError: it is older than `max_age_s`: the camera stood still.
        """
        shown = newest_at(self.images.stamps_ns, ticks_ns)
        ages_s = (ticks_ns - self.images.stamps_ns[shown]) / NS
        if ages_s.max() > self.source.max_age_s:
            step = int(np.argmax(ages_s > self.source.max_age_s))
            place = self.images.places[shown[step]]
            expected = f"the next image within {self.source.max_age_s} s"
            raise place.error("header.stamp", f"{expected} (max_age_s)", f"none for {ages_s[step]:.3f} s")
        return shown

    def actions(self, ticks_ns: NDArray[np.int64], period_ns: int, rotation: Rotation) -> NDArray[np.float64]:
        """What the arm does from each tick to the next, [T, 7] in SI units.

        Raises:
            DatasetError: the poses have a gap, or velocities come so rarely that each would time out.
        """
        stamps_ns, values = self.motion.stamps_ns, self.motion.values
        if self.source.action_from == "commands":
            self._check_command_rate()
            timeout_ns = round(self.source.command_timeout_s * NS)
            motion = motion_of_twists(stamps_ns, values, ticks_ns, period_ns, timeout_ns)
            gripper_ns = ticks_ns + period_ns // 2
        else:
            gripper_ns = ticks_ns + period_ns
            self._check_gaps(ticks_ns[0], gripper_ns[-1])
            motion = motion_of_poses(stamps_ns, values[:, :3], values[:, 3:], np.append(ticks_ns, gripper_ns[-1]))
        gripper = self.gripper.values[newest_at(self.gripper.stamps_ns, gripper_ns)]
        return np.concatenate([with_rotation(motion, rotation), gripper], axis=1)

    def _check_command_rate(self) -> None:
        stamps_ns = self.motion.stamps_ns
        interval_s = float(np.median(np.diff(stamps_ns))) / NS if len(stamps_ns) > 1 else 0.0
        if interval_s > self.source.command_timeout_s:
            expected = f"the next command within {self.source.command_timeout_s} s (command_timeout_s)"
            raise self.motion.places[0].error("header.stamp", expected, f"one every {interval_s:.3f} s, as a rule")

    def _check_gaps(self, first_ns: int, last_ns: int) -> None:
        stamps_ns = self.motion.stamps_ns
        is_gap = np.diff(stamps_ns) > self.source.max_age_s * NS
        is_gap &= (stamps_ns[1:] > first_ns) & (stamps_ns[:-1] < last_ns)
        if is_gap.any():
            k = int(np.argmax(is_gap))
            expected = f"the next pose within {self.source.max_age_s} s (max_age_s)"
            got_s = (stamps_ns[k + 1] - stamps_ns[k]) / NS
            raise self.motion.places[k].error("header.stamp", expected, f"none for {got_s:.3f} s")


class GripperReader:
    """The opening of the gripper in JointStates, which may come without it; remembers the joints that it saw."""

    TOLERANCE = 0.05

    def __init__(self, source: "McapSource") -> None:
        self._joint, self._closed = source.gripper_joint, source.gripper_closed
        self._span = source.gripper_open - source.gripper_closed
        self.joints: tuple[str, ...] = ()

    def opening_of(self, message: Any, place: Place) -> tuple[float, ...] | None:
        """1 open, 0 closed; None where the message is not about the gripper.

        Raises:
            DatasetError: there is no position, or one beyond the ends.
        """
        if self._joint not in message.name:
            self.joints = (*self.joints, *(name for name in message.name if name not in self.joints))
            return None
        index = message.name.index(self._joint)
        if index >= len(message.position):
            raise place.error("position", f"{len(message.name)} numbers", len(message.position))
        position = message.position[index]
        opening = (position - self._closed) / self._span
        if not -self.TOLERANCE <= opening <= 1 + self.TOLERANCE:
            ends = f"{self._closed:g} (gripper_closed) to {self._closed + self._span:g} (gripper_open)"
            raise place.error(f"position.{self._joint}", ends, f"{position:g}")
        return (min(max(opening, 0.0), 1.0),)


def silent(name: str, topic: str, files: tuple[Path, ...], joints: tuple[str, ...] = ()) -> DatasetError:
    """Why a recording without messages on this topic is refused: what it has instead."""
    if joints:
        return DatasetError(f"{name}: {topic}: expected a joint that `gripper_joint` names, got {', '.join(joints)}")
    others = sorted({f"{other} ({kind})" for file in files for other, kind in channels(file).items()})
    return DatasetError(f"{name}: {topic}: expected messages, got none; there is {', '.join(others) or 'nothing'}")


def _the_only(instructions: list[tuple[str, Place]], begin_ns: int) -> tuple[str, Place]:
    """The instruction of a recording; one that was replaced before the first image is none of it.

    Raises:
        DatasetError: there is another one later.
    """
    in_order = sorted(instructions, key=lambda entry: entry[1].publish_time_ns)
    before = sum(place.publish_time_ns <= begin_ns for _, place in in_order)
    (text, first), *others = in_order[max(before - 1, 0) :]
    for other, place in others:
        if other != text:
            raise place.error("data", f"one instruction per recording, {text!r}", repr(other))
    return text, first


def _span(track: Track, origin_ns: int) -> str:
    first, last = ((int(stamp) - origin_ns) / NS for stamp in (track.stamps_ns[0], track.stamps_ns[-1]))
    return f"from {first:.2f} to {last:.2f}"
