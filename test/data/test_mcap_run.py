"""Recorded runs: which image had which answer under which instruction."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from test.data.recordings import (
    START_NS,
    Entry,
    chunk,
    demonstration,
    diagnostics,
    frame,
    image,
    rows_of,
    run,
    text,
    write,
)
from vla_ros.data.mcap_recovery import recover
from vla_ros.data.mcap_run import AnsweredImage, RecordedRun
from vla_ros.data.mcap_writer import EpisodeWriter, RawMessage
from vla_ros.data.recorded_topics import RunTopics
from vla_ros.errors import DatasetError


def answered(recording: RecordedRun) -> list[AnsweredImage]:
    return list(recording.answered_images())


def told(recording: RecordedRun) -> list[str]:
    return [each.answer.instruction for each in answered(recording)]


def test_only_images_with_an_answer_are_played_each_with_its_own(tmp_path: Path) -> None:
    recording = RecordedRun.read(write(tmp_path / "a.mcap", run()))
    assert (recording.images, recording.imageless) == (6, 0)
    assert (recording.bundles, recording.engines) == (("a" * 64,), ("cpu",))
    images = answered(recording)
    assert [(each.stamp_ns - START_NS) / 1e9 for each in images] == pytest.approx([0.05, 0.15, 0.25])
    for k, each in zip((0, 2, 4), images, strict=True):
        np.testing.assert_array_equal(each.answer.chunk.actions, rows_of(k))
        assert frame(k).tobytes() in each.data
    assert told(recording) == ["open", "open", "close"]


def test_an_image_shown_just_before_a_new_instruction_is_played_under_what_policy_node_worked_on(
    tmp_path: Path,
) -> None:
    """The operator's message and the image cross on their way; policy_node's own word does not."""
    entries = [text(0.0, "open"), text(0.002, "open", "/policy_node/instruction")]
    entries += [text(0.049, "close"), image(0.05, frame(0)), chunk(0.08, 0.05, rows_of(0))]
    assert told(RecordedRun.read(write(tmp_path / "a.mcap", entries))) == ["open"]


def test_while_policy_node_says_nothing_because_it_holds_the_operators_word_counts(tmp_path: Path) -> None:
    echo = "/policy_node/instruction"
    entries = [text(0.0, "open"), text(0.002, "open", echo), text(0.01, "", echo), text(0.02, "close")]
    entries += [image(0.05, frame(0)), chunk(0.08, 0.05, rows_of(0)), text(0.081, "close", echo)]
    assert told(RecordedRun.read(write(tmp_path / "a.mcap", entries))) == ["close"]


def test_an_image_that_a_simulator_sends_again_is_one_image_with_one_answer(tmp_path: Path) -> None:
    again = [image(0.05, frame(0)), image(0.05, frame(0)), chunk(0.08, 0.05, rows_of(0)), chunk(0.09, 0.05, rows_of(0))]
    recording = RecordedRun.read(write(tmp_path / "a.mcap", [text(0.0, "open"), *again]))
    assert (recording.images, len(answered(recording))) == (1, 1)


def test_after_a_reset_of_the_simulator_the_same_stamp_is_another_image(tmp_path: Path) -> None:
    entries = [text(0.0, "open")]
    for life in range(2):
        for k in range(2):
            entries.append(image(0.05 * k, frame(10 * life + k)))
            entries[-1].time_s = 0.1 + life + 0.05 * k
            entries.append(chunk(0.12 + life + 0.05 * k, 0.05 * k, rows_of(10 * life + k)))
    images = answered(RecordedRun.read(write(tmp_path / "a.mcap", entries)))
    assert [each.answer.chunk.actions[0, 0] for each in images] == [0, 1, 10, 11]
    assert all(frame(k).tobytes() in each.data for k, each in zip((0, 1, 10, 11), images, strict=True))


def test_a_recording_by_rosbag2_with_other_names_in_two_files_is_read(tmp_path: Path) -> None:
    names = {"/image": "/camera/image_raw", "/instruction": "/task", "/policy_node/action_chunk": "/arm/chunk"}
    entries = [entry for entry in run() if entry.topic in names]
    for entry in entries:
        entry.topic = names[entry.topic]
    bag = tmp_path / "bag"
    bag.mkdir()
    write(bag / "bag_0.mcap", entries[:5])
    write(bag / "bag_1.mcap", entries[5:])
    (bag / "metadata.yaml").write_text(
        "rosbag2_bagfile_information: {storage_identifier: mcap, relative_file_paths: [bag_0.mcap, bag_1.mcap]}"
    )
    recording = RecordedRun.read(bag)
    assert told(recording) == ["open", "open", "close"]
    assert (recording.bundles, recording.made_with) == ((), {})
    assert recording.topics.name("chunks") == "/arm/chunk"


def test_versions_and_machine_are_in_the_file_and_survive_a_recovery(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mcap", run())
    writer = EpisodeWriter(tmp_path / "a.mcap", definitions_of(whole), {"numpy": "2.0"})
    for message in raw_messages(whole):
        writer.put(message)
    path = writer.finish()
    assert RecordedRun.read(path).made_with == {"numpy": "2.0"}
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"expected a finished recording, .* `vla-ros record --recover .*a.mcap`"):
        RecordedRun.read(path)
    saved, _ = recover(path)
    assert RecordedRun.read(saved).made_with == {"numpy": "2.0"}


def definitions_of(path: Path) -> dict[str, str]:
    with path.open("rb") as stream:
        return {schema.name: schema.data.decode() for schema in make_reader(stream).get_summary().schemas.values()}


def raw_messages(path: Path) -> list[RawMessage]:
    with path.open("rb") as stream:
        return [
            RawMessage(
                topic=channel.topic,
                type_name=schema.name,
                data=message.data,
                log_time_ns=message.log_time,
                publish_time_ns=message.publish_time,
                sequence=message.sequence,
            )
            for schema, channel, message in make_reader(stream).iter_messages()
        ]


def without(*topics: str) -> Callable[[list[Entry]], list[Entry]]:
    return lambda entries: [entry for entry in entries if entry.topic not in topics]


def with_rows(rows: np.ndarray, **changes: object) -> Callable[[list[Entry]], list[Entry]]:
    """The first image answered once more, otherwise."""
    return lambda entries: [*entries, chunk(0.09, 0.05, rows, **changes)]


BAD = {
    "no image": (without("/image"), r"a.mcap: /image: expected messages, got none; there is /diagnostics \(diag"),
    "no chunk": (
        without("/policy_node/action_chunk"),
        r"a.mcap: /policy_node/action_chunk: expected messages, got none",
    ),
    "no instruction": (
        without("/instruction", "/policy_node/instruction"),
        r"action_chunk: message 0 at .* header.stamp: expected a time after the first message on /instruction, got one",
    ),
    "two answers": (with_rows(rows_of(7)), r"message 1 at .*: points: expected the answer of message 0 .* got another"),
    "no rows": (with_rows(rows_of(7)[:0]), r"message 1 at 0.090 s: points: expected at least one, got none"),
    "ragged": (
        with_rows(rows_of(7)[:, :6]),
        r"message 1 at 0.090 s: points\[0\].positions: expected 7 numbers, got 6",
    ),
    "another camera": (
        lambda entries: [image(0.051, frame(0)), *without("/image")(entries)],
        r"a.mcap: expected an image for each of 3 chunks, got none with such a header.stamp; is /image the camera",
    ),
    "an image without a stamp": (
        lambda entries: [image(-START_NS / 1e9, frame(0)), *entries][::-1],
        r"/image: message \d at .*: header.stamp: expected a time > 0, got 0",
    ),
    "a demonstration": (lambda entries: demonstration(), r"/policy_node/action_chunk: expected messages, got none"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_replayed_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    change, complaint = BAD[name]
    path = write(tmp_path / "a.mcap", change(run()))
    with pytest.raises(DatasetError, match=complaint) as caught:
        RecordedRun.read(path)
    assert "\n" not in str(caught.value)


def test_chunks_whose_image_was_lost_are_counted_and_left_out(tmp_path: Path) -> None:
    entries = [entry for entry in run() if not (entry.topic == "/image" and 0.14 < entry.time_s < 0.16)]
    recording = RecordedRun.read(write(tmp_path / "a.mcap", entries))
    assert (recording.images, len(answered(recording)), recording.imageless) == (5, 2, 1)


def test_a_folder_with_two_recordings_is_refused_by_their_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.mcap", run())
    with pytest.raises(DatasetError, match=r"expected one recording .*, got a.mcap, b.mcap"):
        RecordedRun.read(tmp_path)
    with pytest.raises(DatasetError, match=r"c.mcap: expected one recording .*, got nothing"):
        RecordedRun.read(tmp_path / "c.mcap")


def test_topics_may_be_named(tmp_path: Path) -> None:
    entries = [*run(), *(chunk(0.2, 0.05, rows_of(1), topic="/other/chunk") for _ in range(1))]
    recording = RecordedRun.read(write(tmp_path / "a.mcap", entries), RunTopics(chunks="/other/chunk"))
    assert [each.answer.chunk.actions[0, 0] for each in answered(recording)] == [1]


def test_two_bundles_in_a_run_are_both_named(tmp_path: Path) -> None:
    entries = [*run(), diagnostics(0.3, bundle_sha256="b" * 64, engine="cpu")]
    assert RecordedRun.read(write(tmp_path / "a.mcap", entries)).bundles == ("a" * 64, "b" * 64)
