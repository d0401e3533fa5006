"""One demonstration as an MCAP file in rosbag2's layout, written while it happens; no ROS needed."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcap.well_known import MessageEncoding, Profile, SchemaEncoding
from mcap.writer import Writer

from vla_ros.errors import DatasetError

ACTIVE = ".active"
"""Ends the name of a file that is still being written, as in rosbag."""

CHUNK_BYTES = 256 * 1024
"""What a killed recorder loses at most, beside what waits."""

WAITING_BYTES = 256 * 2**20
"""How much may wait for the disk; what comes on top is dropped and counted."""

MADE_WITH = "vla_ros made with"
"""Name of the MCAP metadata record with versions of what recorded, and its machine; others pass it over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawMessage:
    """A serialized message, as it came from the middleware.

    Attributes:
        topic: its full name.
        type_name: like `sensor_msgs/msg/Image`.
        data: CDR.
        log_time_ns, publish_time_ns: received and sent [ns].
        sequence: the publisher's count.
    """

    topic: str
    type_name: str
    data: bytes
    log_time_ns: int
    publish_time_ns: int
    sequence: int


class EpisodeWriter:
    """Writes in a thread of its own, so that a slow disk never holds up who receives.

    Attributes:
        path: the file that will be there when it is finished.
        dropped: messages that the disk was too slow for.
        error: why nothing is written any more, if so.
    """

    def __init__(self, path: Path, definitions: Mapping[str, str], made_with: Mapping[str, str] | None = None) -> None:
        """Begin a file.

        Args:
            path: its final name, ending in `.mcap`.
            definitions: the text of each type's definition; may grow before a message of the type comes.
            made_with: versions and machine, to go into the file.

        Raises:
            DatasetError: it exists already, or cannot be written.
        """
        self.path = path
        self.dropped = 0
        self.error: Exception | None = None
        self._definitions = definitions
        self._made_with = made_with
        self._active = path.with_name(path.name + ACTIVE)
        if path.exists():
            raise DatasetError(f"{path}: expected a new file, got one that exists")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._active.open("xb")
        except OSError as error:
            raise DatasetError(f"{self._active}: expected to write a new file, got: {error.strerror}") from error
        self._writer = Writer(self._stream, chunk_size=CHUNK_BYTES)
        self._channels: dict[str, int] = {}
        self._condition = threading.Condition()
        self._waiting: deque[RawMessage] = deque()
        self._waiting_bytes = 0
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="episode writer", daemon=True)
        self._thread.start()

    def put(self, message: RawMessage) -> bool:
        """Hand a message over without waiting; False if it was dropped."""
        with self._condition:
            if self._waiting_bytes + len(message.data) > WAITING_BYTES or self.error is not None:
                self.dropped += 1
                return False
            self._waiting.append(message)
            self._waiting_bytes += len(message.data)
            self._condition.notify()
        return True

    def finish(self) -> Path:
        """Write what waits, complete the file and give it its name.

        Raises:
            DatasetError: the disk refused, e.g. is full; what was written before is in the `.active` file.
        """
        self._end()
        if self.error is not None:
            raise DatasetError(
                f"{self._active}: expected a disk that takes it, got: {self.error}; "
                f"`vla-ros record --recover {self._active}` saves what was written"
            ) from self.error
        os.replace(self._active, self.path)
        return self.path

    def discard(self) -> None:
        """End, and leave no file."""
        self._end()
        self._active.unlink(missing_ok=True)

    def _end(self) -> None:
        with self._condition:
            self._is_ending = True
            self._condition.notify()
        self._thread.join()

    # ---- in the thread ----

    def _run(self) -> None:
        try:
            self._writer.start(profile=Profile.ROS2, library="vla_ros")
            if self._made_with is not None:
                self._writer.add_metadata(MADE_WITH, dict(self._made_with))
            while self._write_waiting():
                self._stream.flush()  # whole chunks survive a kill -9 of this process
            self._writer.finish()  # type: ignore[no-untyped-call]
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except Exception as error:  # told by `finish`: a thread that dies in silence would lose the episode
            self.error = error
        finally:
            with contextlib.suppress(OSError):  # a full disk refuses once more
                self._stream.close()

    def _write_waiting(self) -> bool:
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._is_ending)
            messages = list(self._waiting)
            self._waiting.clear()
            is_last = self._is_ending
        for message in messages:
            add_message(self._writer, self._channels, self._definitions, message)
            with self._condition:
                self._waiting_bytes -= len(message.data)
        return not is_last


def add_message(writer: Writer, channels: dict[str, int], definitions: Mapping[str, str], message: RawMessage) -> None:
    """Write a message, and its topic and type before its first one."""
    if message.topic not in channels:
        text = definitions[message.type_name].encode()
        schema = writer.register_schema(message.type_name, SchemaEncoding.ROS2, text)
        channels[message.topic] = writer.register_channel(message.topic, MessageEncoding.CDR, schema)
    writer.add_message(
        channels[message.topic],
        log_time=message.log_time_ns,
        data=message.data,
        publish_time=message.publish_time_ns,
        sequence=message.sequence % 2**32,
    )
