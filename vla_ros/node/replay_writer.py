"""A replay as a recording of its own: what the policy saw and what it answered now."""

from collections.abc import Mapping
from pathlib import Path

from rclpy.serialization import serialize_message
from std_msgs.msg import String

from vla_ros.data.mcap_run import AnsweredImage, RecordedRun
from vla_ros.data.mcap_writer import EpisodeWriter, RawMessage
from vla_ros.data.recorded_topics import ROLES
from vla_ros.errors import DatasetError
from vla_ros.node.message_definition import definition_of


class ReplayWriter:
    """Writes images, instructions and new chunks under the names and at the times of the old recording.

    Args:
        path: a new file.
        recording: what is replayed.
        diagnostics: CDR of policy_node's, which tell the bundle.
        made_with: see `EpisodeWriter`.

    Raises:
        DatasetError: the file cannot be written.
    """

    def __init__(self, path: Path, recording: RecordedRun, diagnostics: bytes, made_with: Mapping[str, str]) -> None:
        self._topics = recording.topics
        self._types = {role: kinds[0] for role, kinds in ROLES.items()} | {"image": recording.image_type}
        definitions = {kind: definition_of(kind) for kind in self._types.values()}
        self._writer = EpisodeWriter(path, definitions, made_with)
        self._diagnostics: bytes | None = diagnostics
        self._instruction = ""
        self._count = 0

    def add(self, image: AnsweredImage, answer: bytes) -> None:
        """Write an image and the CDR of its new answer.

        Raises:
            DatasetError: the disk is too slow or full.
        """
        seen = (image.place.log_time_ns, image.place.publish_time_ns)
        if self._diagnostics is not None:
            self._put("diagnostics", self._diagnostics, seen)
            self._diagnostics = None
        if image.answer.instruction != self._instruction:
            self._instruction = image.answer.instruction
            for role in ("instruction", "policy_instruction"):
                self._put(role, serialize_message(String(data=self._instruction)), seen)
        self._put("image", image.data, seen)
        place = image.answer.place
        self._put("chunks", answer, (place.log_time_ns, place.publish_time_ns))

    def finish(self) -> None:
        """Complete the file; raises DatasetError if the disk refuses."""
        self._writer.finish()

    def discard(self) -> None:
        """Leave no file."""
        self._writer.discard()

    def _put(self, role: str, data: bytes, times_ns: tuple[int, int]) -> None:
        message = RawMessage(
            topic=self._topics.name(role),
            type_name=self._types[role],
            data=data,
            log_time_ns=times_ns[0],
            publish_time_ns=times_ns[1],
            sequence=self._count,
        )
        self._count += 1
        if not self._writer.put(message):
            raise DatasetError(
                f"{self._writer.path}: expected a disk that takes it, got {self._writer.error or 'none'}"
            )
