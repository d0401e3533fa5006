"""What a killed recorder left behind, to a whole recording; no ROS needed."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mcap.reader import NonSeekingReader
from mcap.records import Channel, Message, Metadata, Schema
from mcap.well_known import Profile
from mcap.writer import Writer

from vla_ros.data.mcap_files import check_finished
from vla_ros.data.mcap_writer import ACTIVE, RawMessage, add_message
from vla_ros.errors import DatasetError


def recover(path: Path) -> tuple[Path, int]:
    """Save what is whole of a recording that was cut off, beside it; returns the new file and how many messages it has.

    Raises:
        DatasetError: it is not there, nothing is missing from it, or nothing of it is whole.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise DatasetError(f"{path}: expected a recording, got: {error.strerror}") from error
    if _is_finished(path):
        raise DatasetError(f"{path}: expected a recording that was cut off, got a finished one")
    saved = path.with_name(path.name.removesuffix(ACTIVE).removesuffix(".mcap") + "_recovered.mcap")
    if saved.exists():
        raise DatasetError(f"{saved}: expected a new file, got one that exists")
    partial = saved.with_name(saved.name + ACTIVE)
    try:
        with partial.open("wb") as stream:
            count = _copy(path, Writer(stream))
            stream.flush()
            os.fsync(stream.fileno())
        if not count:
            raise DatasetError(f"{path}: expected at least one whole message, got none")
        os.replace(partial, saved)
    except OSError as error:
        raise DatasetError(f"{saved}: expected to write a new file, got: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return saved, count


def _is_finished(path: Path) -> bool:
    try:
        check_finished(path)
    except DatasetError:
        return False
    return True


def _copy(path: Path, writer: Writer) -> int:
    writer.start(profile=Profile.ROS2, library="vla_ros")
    for record in _whole_metadata(path):
        writer.add_metadata(record.name, record.metadata)
    channels: dict[str, int] = {}
    definitions: dict[str, str] = {}
    count = 0
    for schema, channel, message in _whole_messages(path):
        definitions[schema.name] = schema.data.decode()
        raw = RawMessage(
            topic=channel.topic,
            type_name=schema.name,
            data=message.data,
            log_time_ns=message.log_time,
            publish_time_ns=message.publish_time,
            sequence=message.sequence,
        )
        add_message(writer, channels, definitions, raw)
        count += 1
    writer.finish()  # type: ignore[no-untyped-call]
    return count


def _whole_metadata(path: Path) -> Iterator[Metadata]:
    with path.open("rb") as stream, contextlib.suppress(Exception):  # as below
        yield from NonSeekingReader(stream).iter_metadata()


def _whole_messages(path: Path) -> Iterator[tuple[Schema, Channel, Message]]:
    with path.open("rb") as stream:
        messages = NonSeekingReader(stream).iter_messages(log_time_order=False)
        while True:
            try:
                schema, channel, message = next(messages)
            except Exception:  # the cut, at which the library raises whatever its parsers do
                return
            if schema is not None:
                yield schema, channel, message
