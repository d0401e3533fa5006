"""Recording to disk: slow disks, full disks and killed recorders."""

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from test.data.recordings import DEFINITIONS, START_NS, demonstration, write
from vla_ros.data import mcap_writer
from vla_ros.data.mcap import McapSource
from vla_ros.data.mcap_files import channels
from vla_ros.data.mcap_recovery import recover
from vla_ros.data.mcap_writer import EpisodeWriter, RawMessage
from vla_ros.errors import DatasetError


def message(number: int, size: int = 1000) -> RawMessage:
    noise = np.random.default_rng(number).bytes(size)  # which does not compress
    return RawMessage(
        topic="/instruction",
        type_name="std_msgs/msg/String",
        data=noise,
        log_time_ns=START_NS + number,
        publish_time_ns=START_NS + number,
        sequence=number,
    )


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "new/a.mcap", DEFINITIONS)
    assert writer.put(message(0))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.mcap.active"]
    assert writer.finish() == tmp_path / "new/a.mcap"
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.mcap"]
    assert channels(tmp_path / "new/a.mcap") == {"/instruction": "std_msgs/msg/String"}


def test_a_discarded_episode_leaves_nothing(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.mcap", DEFINITIONS)
    writer.put(message(0))
    writer.discard()
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").touch()
    with pytest.raises(DatasetError, match=r"a.mcap: expected a new file, got one that exists"):
        EpisodeWriter(tmp_path / "a.mcap", DEFINITIONS)


def test_what_the_disk_is_too_slow_for_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap_writer, "WAITING_BYTES", 500)
    writer = EpisodeWriter(tmp_path / "a.mcap", DEFINITIONS)
    assert not writer.put(message(0, size=1000))
    assert writer.put(message(1, size=100))
    assert writer.dropped == 1
    writer.finish()


@pytest.fixture
def nearly_full_disk() -> Iterator[None]:
    """Files of this process may have 300 kB."""
    old, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (old, hard))


@pytest.mark.usefixtures("nearly_full_disk")
def test_a_full_disk_is_named_and_what_was_written_can_be_saved(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.mcap", DEFINITIONS)
    for number in range(1000):
        writer.put(message(number))
    with pytest.raises(DatasetError, match=r"a.mcap.active: expected a disk that takes it, got: .* --recover .*active"):
        writer.finish()
    assert not writer.put(message(0))
    saved, count = recover(tmp_path / "a.mcap.active")
    assert 200 < count < 300  # whole chunks of a quarter of a megabyte
    assert channels(saved) == {"/instruction": "std_msgs/msg/String"}


@pytest.mark.parametrize("cut", [100, 300, 1000])
def test_what_is_whole_of_a_cut_off_recording_is_saved_beside_it(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "a.mcap", demonstration())
    path.write_bytes(path.read_bytes()[:-cut])
    saved, count = recover(path)
    assert (saved, count) == (tmp_path / "a_recovered.mcap", 31)
    assert len(McapSource(path=saved).open().episode(0)) == 10
    with pytest.raises(DatasetError, match=r"a_recovered.mcap: expected a new file, got one that exists"):
        recover(path)


def test_nothing_to_save_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", demonstration())
    with pytest.raises(DatasetError, match="expected a recording that was cut off, got a finished one"):
        recover(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DatasetError, match="expected at least one whole message, got none"):
        recover(path)
    with pytest.raises(DatasetError, match=r"b.mcap: expected a recording, got: No such file"):
        recover(tmp_path / "b.mcap")
    assert [file.name for file in tmp_path.iterdir()] == ["a.mcap"]


def test_a_recovery_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", demonstration())
    path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "a_recovered.mcap.active").mkdir()
    with pytest.raises(DatasetError, match=r"a_recovered.mcap: expected to write a new file, got: Is a directory"):
        recover(path)
