"""One episode while it is recorded: its file, and what came on each topic."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_ros.data.mcap_writer import EpisodeWriter, RawMessage
from vla_ros.data.recorded_topics import RecordedTopics

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
        publisher = publisher_of(info)
        self.lost += max(0, sequence - self.sequences.get(publisher, sequence - 1) - 1)
        self.sequences[publisher] = sequence
        return int(sequence)


def publisher_of(info: Mapping[str, Any]) -> bytes:
    """Which publisher a message came from, by rclpy's information on it; Humble does not tell."""
    return bytes((info.get("publisher_gid") or {}).get("data", b""))


class RecordedEpisode:
    """Hands messages to the file's writer and counts them.

    Args:
        path: the file that will be there at the end.
        topics: what is recorded.
        definitions, made_with: see `EpisodeWriter`.

    Raises:
        DatasetError: the file cannot be written.
    """

    def __init__(
        self, path: Path, topics: RecordedTopics, definitions: Mapping[str, str], made_with: Mapping[str, str]
    ) -> None:
        self._topics, self._roles = topics, topics.by_name()
        self._begun_s = time.monotonic()
        self._heard = {topic: Heard(self._begun_s) for topic in self._roles}
        self.writer = EpisodeWriter(path, definitions, made_with)

    def receive(self, topic: str, kind: str, data: bytes, info: Mapping[str, Any], received_ns: int) -> None:
        """Write a serialized message; `info` is what rclpy says about it."""
        message = RawMessage(
            topic=topic,
            type_name=kind,
            data=data,
            log_time_ns=received_ns,
            # the senders' wall clocks order what a simulator's time, which may stand still, does not
            publish_time_ns=int(info.get("source_timestamp", time.time_ns())),
            sequence=self._heard[topic].note(info),
        )
        self.writer.put(message)

    def newly_silent(self) -> Iterable[tuple[str, float]]:
        """Topics that have gone silent since the last call, and for how long [s]."""
        now_s = time.monotonic()
        for topic, heard in self._heard.items():
            silent_s = now_s - heard.last_s
            is_late = self._roles[topic] in STEADY_ROLES if heard.count else self._is_needed(topic)
            if silent_s > PATIENCE_S and is_late and not heard.is_silent:
                heard.is_silent = True
                yield topic, silent_s

    @property
    def never_heard(self) -> list[str]:
        """Topics that should have had a message and had none."""
        return [topic for topic, heard in self._heard.items() if not heard.count and self._is_needed(topic)]

    def _is_needed(self, topic: str) -> bool:
        heard = {self._roles[name] for name, heard in self._heard.items() if heard.count}
        return self._topics.is_needed(self._roles[topic], heard)

    @property
    def summary(self) -> str:
        """Counts and rates, in one line."""
        seconds = time.monotonic() - self._begun_s
        topics = [
            f"{topic} {heard.count} ({heard.count / seconds:.1f} Hz{f', {heard.lost} lost' if heard.lost else ''})"
            for topic, heard in self._heard.items()
            if heard.count or self._is_needed(topic)
        ]
        return f"{seconds:.1f} s, {', '.join(topics)}, {self.writer.dropped} dropped"
