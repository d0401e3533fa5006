"""The messages of one recorded demonstration, checked one by one; no ROS needed."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.reader import make_reader
from mcap.records import Channel, Message, Schema
from mcap_ros2.decoder import DecoderFactory
from numpy.typing import NDArray

from vla_ros.data.checks import reason
from vla_ros.data.mcap_files import check_finished, damaged
from vla_ros.data.recorded_topics import ROLES
from vla_ros.errors import DatasetError
from vla_ros.processing.image_message import check_image

NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A message in a recording; its text begins every error about it.

    Attributes:
        file: the MCAP file.
        topic: its full name.
        number: of the message on its topic, from 0.
        log_time_ns: when it was recorded, in the recorder's time [ns].
        publish_time_ns: when it was sent, by its sender's wall clock; of older writers the same as `log_time_ns` [ns].
        time_s: since the recording began [s].
    """

    file: Path
    topic: str
    number: int
    log_time_ns: int
    publish_time_ns: int
    time_s: float

    def __str__(self) -> str:
        return f"{self.file}: {self.topic}: message {self.number} at {self.time_s:.3f} s"

    def error(self, field: str, expected: object, got: object) -> DatasetError:
        """What is wrong with one of its fields."""
        return DatasetError(f"{self}: {field}: expected {expected}, got {got}")


@dataclass(frozen=True, slots=True)
class Track:
    """The messages of one topic.

    Attributes:
        stamps_ns: int64 [n], increasing [ns].
        values: what they say, float64 [n, d].
        places: where they are.
        frame_id: of their headers.
    """

    stamps_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    places: tuple[Place, ...]
    frame_id: str


def read_messages(files: tuple[Path, ...], topics: dict[str, str]) -> Iterator[tuple[str, Place, Any]]:
    """Role, place and decoded message of everything on these topics, file by file, in the order of recording.

    Raises:
        DatasetError: a file or a message is damaged, unfinished or of another type.
    """
    decoders: dict[Path, DecoderFactory] = {}
    for place, schema, channel, message in read_records(files, list(topics)):
        role = topics[place.topic]
        factory = decoders.setdefault(place.file, DecoderFactory())
        yield role, place, _decoded(factory, role, place, schema, channel, message)


def read_records(files: tuple[Path, ...], topics: list[str]) -> Iterator[tuple[Place, Schema | None, Channel, Message]]:
    """Everything on these topics as it was written, file by file, in the order of recording.

    Raises:
        DatasetError: a file is damaged or unfinished.
    """
    numbers = dict.fromkeys(topics, 0)
    start_ns: int | None = None
    for file in files:
        for schema, channel, message in _records(file, topics):
            start_ns = message.log_time if start_ns is None else start_ns
            place = Place(
                file=file,
                topic=channel.topic,
                number=numbers[channel.topic],
                log_time_ns=message.log_time,
                publish_time_ns=message.publish_time,
                time_s=(message.log_time - start_ns) / NS,
            )
            numbers[channel.topic] += 1
            yield place, schema, channel, message


def _records(file: Path, topics: list[str]) -> Iterator[tuple[Schema | None, Channel, Message]]:
    check_finished(file)
    with file.open("rb") as stream:
        try:
            yield from make_reader(stream, validate_crcs=True).iter_messages(topics)
        except Exception as error:  # the library raises whatever its parsers do
            raise damaged(file, error) from error


def _decoded(
    decoders: DecoderFactory, role: str, place: Place, schema: Schema | None, channel: Channel, message: Message
) -> Any:
    name, wanted = "nothing" if schema is None else schema.name, ROLES[role]
    if name not in wanted:
        raise place.error("type", " or ".join(wanted), name)
    try:
        decode = decoders.decoder_for(channel.message_encoding, schema)
    except Exception as error:  # as above
        raise place.error("type", f"the definition of {name}", reason(error)) from error
    if decode is None or schema is None:
        got = f"{channel.message_encoding} with {schema.encoding if schema else 'no schema'}"
        raise place.error("encoding", "cdr with ros2msg", got)
    try:
        return decode(message.data)
    except Exception as error:  # the library raises whatever its parsers do
        raise place.error("data", f"a {name}", f"{type(error).__name__}: {reason(error)}") from error


@contextmanager
def readable(place: Place) -> Iterator[None]:
    """Raises DatasetError if a message lacks a field, because its file defines its type otherwise than ROS does."""
    try:
        yield
    except (AttributeError, TypeError) as error:
        raise place.error("type", "the fields that ROS defines", reason(error)) from error


class TrackBuilder:
    """Collects one topic; what is not finite, not stamped, out of order or in another frame is refused at once."""

    def __init__(self, value_of: Callable[[Any, Place], tuple[float, ...] | None]) -> None:
        self._value_of = value_of
        self._rows: list[tuple[float, ...]] = []
        self._stamps: list[int] = []
        self._places: list[Place] = []
        self._frame_id: str | None = None

    def add(self, message: Any, place: Place) -> None:
        """Take a message with a header; one without a value is passed over, and so is a repeated one.

        Raises:
            DatasetError: it must not be trained on.
        """
        row = self._value_of(message, place)
        if row is None:
            return
        if not all(math.isfinite(number) for number in row):
            raise place.error("data", "finite numbers", list(row))
        stamp_ns = stamp_of(message, place)
        if self._stamps and stamp_ns < self._stamps[-1]:
            got_s = (self._stamps[-1] - stamp_ns) / NS
            raise place.error("header.stamp", "a time after the message before", f"{got_s:.3f} s before it")
        frame_id = str(message.header.frame_id)
        if self._frame_id not in (None, frame_id):
            raise place.error("header.frame_id", f"{self._frame_id!r} as before", repr(frame_id))
        self._frame_id = frame_id
        if not self._stamps or stamp_ns > self._stamps[-1]:
            self._stamps.append(stamp_ns)
            self._rows.append(row)
            self._places.append(place)

    def track(self) -> Track | None:
        """What was collected; None if it is nothing."""
        if not self._stamps:
            return None
        return Track(np.array(self._stamps, np.int64), np.array(self._rows), tuple(self._places), str(self._frame_id))


def stamp_of(message: Any, place: Place) -> int:
    """The header's time [ns].

    Raises:
        DatasetError: there is none; the time of recording would be late by the transport, and is not taken for it.
    """
    stamp_ns = int(message.header.stamp.sec) * NS + int(message.header.stamp.nanosec)
    if stamp_ns <= 0:
        raise place.error("header.stamp", "a time > 0", "0")
    return stamp_ns


def twist_of(message: Any, place: Place) -> tuple[float, ...]:
    """Linear and angular velocity [m/s, rad/s]."""
    linear, angular = message.twist.linear, message.twist.angular
    return linear.x, linear.y, linear.z, angular.x, angular.y, angular.z


def pose_of(message: Any, place: Place) -> tuple[float, ...]:
    """Position [m] and quaternion x y z w.

    Raises:
        DatasetError: the quaternion is no rotation.
    """
    position, q = message.pose.position, message.pose.orientation
    length = math.sqrt(q.x**2 + q.y**2 + q.z**2 + q.w**2)
    if not abs(length - 1) < 1e-2:
        raise place.error("pose.orientation", "a quaternion of length 1", f"{length:.4g}")
    return position.x, position.y, position.z, q.x, q.y, q.z, q.w


def image_of(message: Any, place: Place) -> tuple[float, ...]:
    """No number; the pixels stay on disk, but their layout is checked."""
    check_image(message, place.error)
    return ()
