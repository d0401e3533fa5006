"""A recorded run: which images the policy answered, with which instruction and chunk; no ROS needed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import Self

from vla_ros.data.mcap_files import channels, files_of, list_episodes, metadata_of
from vla_ros.data.mcap_messages import Place, read_messages, read_records, readable, stamp_of
from vla_ros.data.mcap_recording import silent
from vla_ros.data.mcap_writer import MADE_WITH
from vla_ros.data.recorded_chunk import RecordedChunk
from vla_ros.data.recorded_topics import RunTopics
from vla_ros.errors import ContractError, DatasetError

BUNDLE_KEY, ENGINE_KEY = "bundle_sha256", "engine"
"""Under these policy_node's diagnostics say which policy runs, and how."""

NEEDED = ("image", "instruction", "chunks", "policy_instruction", "diagnostics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the policy answered to one image.

    Attributes:
        instruction: on which it worked.
        chunk: its actions.
        place: of the chunk's message.
    """

    instruction: str
    chunk: RecordedChunk
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredImage:
    """An image that has a recorded answer.

    Attributes:
        data: its message, CDR as it was recorded.
        stamp_ns: of its header [ns].
        place: of its message.
        answer: the recorded one.
    """

    data: bytes
    stamp_ns: int
    place: Place
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run without its pixels.

    Attributes:
        name: begins errors about it.
        files: the MCAP files.
        topics: of the recording.
        image_type: the type of its camera topic.
        images: how many there are.
        answers: to an image, by its number on its topic.
        imageless: answers whose image was not recorded.
        bundles, engines: sha256 of every bundle that ran, and on which engine; empty where none was recorded.
        made_with: versions and machine of what recorded; empty where none were recorded.
    """

    name: str
    files: tuple[Path, ...]
    topics: RunTopics
    image_type: str
    images: int
    answers: dict[int, Answer]
    imageless: int
    bundles: tuple[str, ...]
    engines: tuple[str, ...]
    made_with: dict[str, str]

    @classmethod
    def read(cls, path: Path, topics: RunTopics | None = None) -> Self:
        """Read a file or a rosbag2 folder; without `topics`, those that it has.

        Raises:
            DatasetError: it is not one recording, is damaged, or has no image with an answer.
        """
        files = files_of(_the_only(path))
        types = {name: kind for file in files for name, kind in channels(file).items()}
        topics = RunTopics.found_in(types) if topics is None else topics
        story = _Story()
        roles = {topics.name(role): role for role in NEEDED}
        for role, place, message in read_messages(files, roles):
            with readable(place):
                story.add(role, place, message)
        for role, heard in (("image", story.images), ("chunks", story.chunks)):
            if not heard:
                raise silent(str(path), topics.name(role), files)
        answers = story.answers(str(path), topics)
        return cls(
            name=str(path),
            files=files,
            topics=topics,
            image_type=types[topics.name("image")],
            images=story.image_count,
            answers=answers,
            imageless=story.imageless,
            bundles=tuple(sorted(story.said[BUNDLE_KEY])),
            engines=tuple(sorted(story.said[ENGINE_KEY])),
            made_with=metadata_of(files[0], MADE_WITH),
        )

    @property
    def is_compressed(self) -> bool:
        """Whether the camera's topic carries JPEG or PNG."""
        return self.image_type.endswith("/CompressedImage")

    def answered_images(self) -> Iterator[AnsweredImage]:
        """The images that have an answer, in the order of recording.

        Raises:
            DatasetError: the recording has changed.
        """
        for place, _, _, message in read_records(self.files, [self.topics.name("image")]):
            answer = self.answers.get(place.number)
            if answer is not None:
                stamp_ns = answer.chunk.stamp_ns
                yield AnsweredImage(data=message.data, stamp_ns=stamp_ns, place=place, answer=answer)


@dataclass(slots=True)
class _Story:
    """What was recorded, message by message.

    Attributes:
        images: time of publication and number of all images with a stamp, by the stamp.
        image_count: how many there are; one that a simulator sends again while it waits is the same one.
        chunks: with their places, in the order of recording.
        echoes, told: instructions by policy_node and by the operator, with the time of publication.
        said: values in policy_node's diagnostics, by their key.
    """

    images: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    image_count: int = 0
    last_stamp_ns: int = 0
    chunks: list[tuple[RecordedChunk, Place]] = field(default_factory=list)
    echoes: list[tuple[int, str]] = field(default_factory=list)
    told: list[tuple[int, str]] = field(default_factory=list)
    said: dict[str, set[str]] = field(default_factory=lambda: {BUNDLE_KEY: set(), ENGINE_KEY: set()})
    imageless: int = 0

    def add(self, role: str, place: Place, message: Any) -> None:
        """Take a message.

        Raises:
            DatasetError: it has no stamp, or is no chunk.
        """
        if role == "image":
            self._add_image(stamp_of(message, place), place)
        elif role == "chunks":
            self.chunks.append((_chunk_of(message, place), place))
        elif role == "diagnostics":
            for pair in policy_values(message):
                self.said.get(pair.key, set()).add(pair.value)
        else:
            heard = self.echoes if role == "policy_instruction" else self.told
            heard.append((place.publish_time_ns, message.data))

    def _add_image(self, stamp_ns: int, place: Place) -> None:
        if stamp_ns == self.last_stamp_ns:
            return
        self.last_stamp_ns = stamp_ns
        self.image_count += 1
        self.images.setdefault(stamp_ns, []).append((place.publish_time_ns, place.number))

    def answers(self, name: str, topics: RunTopics) -> dict[int, Answer]:
        """Join chunks with their images by the stamp, and with the instruction in force.

        Raises:
            DatasetError: two answers to one image differ, one has no instruction, or there is none with an image.
        """
        found: dict[int, Answer] = {}
        for chunk, place in self.chunks:
            image = self._image_of(chunk, place)
            if image is None:
                self.imageless += 1
                continue
            published_ns, number = image
            former = found.setdefault(
                number, Answer(instruction=self._instruction(published_ns, place, topics), chunk=chunk, place=place)
            )
            # an image that a simulator sends again gets its answer again
            if not former.chunk.is_same(chunk):
                raise place.error("points", f"the answer of message {former.place.number} to the same image", "another")
        if not found:
            raise DatasetError(
                f"{name}: expected an image for each of {len(self.chunks)} chunks, got none with such a header.stamp; "
                f"is {topics.name('image')} the camera that the policy saw?"
            )
        return found

    def _image_of(self, chunk: RecordedChunk, place: Place) -> tuple[int, int] | None:
        """The first image of this stamp after whatever had the same stamp in an earlier life of a simulator."""
        images = self.images.get(chunk.stamp_ns)
        if images is None:
            return None
        before = [image for image in images if image[0] <= place.publish_time_ns]
        return max(before, default=images[0])

    def _instruction(self, image_ns: int, place: Place, topics: RunTopics) -> str:
        """By policy_node's own word where it has one: it says what it works on, but nothing while it holds."""
        for heard, until_ns in ((self.echoes, place.publish_time_ns), (self.told, image_ns)):
            before = [entry for entry in heard if entry[0] <= until_ns]
            newest = max(reversed(before), key=lambda entry: entry[0], default=(0, ""))
            if newest[1]:
                return newest[1]
        first = f"a time after the first message on {topics.name('instruction')}"
        raise place.error("header.stamp", first, "one before")


def policy_values(message: Any) -> list[Any]:
    """The key-value pairs of a DiagnosticArray's status that names a bundle; empty if none does."""
    for status in message.status:
        if any(pair.key == BUNDLE_KEY and pair.value for pair in status.values):
            return list(status.values)
    return []


def _chunk_of(message: Any, place: Place) -> RecordedChunk:
    try:
        return RecordedChunk.of(message)
    except ContractError as error:
        raise DatasetError(f"{place}: {error}") from error


def _the_only(path: Path) -> Path:
    episodes = list_episodes(path)
    if len(episodes) != 1:
        got = ", ".join(episode.name for episode in episodes) or "nothing"
        raise DatasetError(f"{path}: expected one recording (*.mcap or a rosbag2 folder), got {got}")
    return episodes[0]
