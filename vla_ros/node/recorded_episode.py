"""One episode while it is recorded: its file, and what came on each topic."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_ros.data.mcap_writer import EpisodeWriter, RawMessage

PATIENCE_S = 3.0
"""A topic that is silent for longer is warned about [s]."""

STEADY_ROLES = ("image", "pose")
"""These come all the time; an operator may pause commands, and an instruction comes once."""


@dataclass(slots=True)
class Heard:
    """What came on one topic.

    Attributes:
        count: messages that were written.
        lost: messages that the middleware lost, by gaps in the publishers' own counts; Humble does not tell those.
        last_s: when the newest came, on the monotonic clock; before the first, when the episode began [s].
        sequences: the last count of each publisher.
        is_silent: whether the operator was warned and nothing came since.
    """

    last_s: float
    count: int = 0
    lost: int = 0
    sequences: dict[bytes, int] = field(default_factory=dict)
    is_silent: bool = False

    def note(self, info: Mapping[str, Any]) -> int:
        """Count a message by rclpy's information on it; returns its publisher's own count, 0 where it has none."""
        self.count += 1
        self.last_s = time.monotonic()
        self.is_silent = False
        sequence = info.get("publication_sequence_number")
        if sequence is None:
            return 0
        publisher = bytes((info.get("publisher_gid") or {}).get("data", b""))
        self.lost += max(0, sequence - self.sequences.get(publisher, sequence - 1) - 1)
        self.sequences[publisher] = sequence
        return int(sequence)


class RecordedEpisode:
    """Hands messages to the file's writer and counts them.

    Args:
        path: the file that will be there at the end.
        roles: of each topic, by its full name.
        definitions: see `EpisodeWriter`.

    Raises:
        DatasetError: the file cannot be written.
    """

    def __init__(self, path: Path, roles: Mapping[str, str], definitions: Mapping[str, str]) -> None:
        self._roles = roles
        self._begun_s = time.monotonic()
        self._heard = {topic: Heard(self._begun_s) for topic in roles}
        self.writer = EpisodeWriter(path, definitions)

    def receive(self, topic: str, kind: str, data: bytes, info: Mapping[str, Any], received_ns: int) -> None:
        """Write a serialized message; `info` is what rclpy says about it."""
        message = RawMessage(
            topic=topic,
            type_name=kind,
            data=data,
            log_time_ns=received_ns,
            publish_time_ns=int(info.get("source_timestamp", received_ns)),
            sequence=self._heard[topic].note(info),
        )
        self.writer.put(message)

    def newly_silent(self) -> Iterable[tuple[str, float]]:
        """Topics that have gone silent since the last call, and for how long [s]."""
        now_s = time.monotonic()
        for topic, heard in self._heard.items():
            silent_s = now_s - heard.last_s
            is_due = silent_s > PATIENCE_S and (not heard.count or self._roles[topic] in STEADY_ROLES)
            if is_due and not heard.is_silent:
                heard.is_silent = True
                yield topic, silent_s

    @property
    def never_heard(self) -> list[str]:
        """Topics without any message."""
        return [topic for topic, heard in self._heard.items() if not heard.count]

    @property
    def summary(self) -> str:
        """Counts and rates, in one line."""
        seconds = time.monotonic() - self._begun_s
        topics = [
            f"{topic} {heard.count} ({heard.count / seconds:.1f} Hz{f', {heard.lost} lost' if heard.lost else ''})"
            for topic, heard in self._heard.items()
        ]
        return f"{seconds:.1f} s, {', '.join(topics)}, {self.writer.dropped} dropped"
