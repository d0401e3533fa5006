"""Engines are built once per key, and an engine that is not exactly the one asked for is never handed out."""

import errno
import hashlib
import json
import logging
import multiprocessing
import os
import resource
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from vla_ros.engines import tensorrt_cache
from vla_ros.engines.tensorrt_cache import EngineCache, EngineKey, Progress, default_folder
from vla_ros.errors import EngineError

KEY = EngineKey(
    graph_sha256="a" * 64,
    data_sha256="b" * 64,
    tensorrt_version="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    flags=("strongly_typed", "no_tf32"),
    buckets=(16, 32),
)
OTHER: dict[str, Any] = {
    "graph_sha256": "c" * 64,
    "data_sha256": "c" * 64,
    "tensorrt_version": "10.3.1",
    "gpu": "NVIDIA Thor",
    "compute_capability": "8.9",
    "flags": ("strongly_typed",),
    "buckets": (32, 16),
}
ENGINE = bytes(range(256)) * 40


class FakeBuilder:
    """Builds `engine`; counts how often."""

    def __init__(self, engine: bytes = ENGINE) -> None:
        self.engine = engine
        self.builds = 0

    def build(self, progress: Progress) -> bytes:
        self.builds += 1
        progress("fusing layers", 1, 1)
        return self.engine


class NoBuilder:
    """For engines that must come from disk."""

    def build(self, progress: Progress) -> bytes:
        raise AssertionError("built again")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path)


def built(cache: EngineCache, key: EngineKey = KEY) -> None:
    assert cache.load_or_build(key, FakeBuilder()) == ENGINE


def test_an_engine_is_built_once_and_comes_from_disk_then(cache: EngineCache) -> None:
    built(cache)
    assert cache.load_or_build(KEY, NoBuilder()) == ENGINE


def test_every_field_of_the_key_is_varied_here() -> None:
    assert list(OTHER) == [field.name for field in fields(EngineKey)]


@pytest.mark.parametrize("field", OTHER)
def test_another_value_of_any_field_is_another_engine(cache: EngineCache, field: str) -> None:
    built(cache)
    builder = FakeBuilder(b"another")
    other = replace(KEY, **{field: OTHER[field]})
    assert cache.load_or_build(other, builder) == b"another"
    assert builder.builds == 1
    assert cache.load_or_build(KEY, NoBuilder()) == ENGINE


@pytest.mark.parametrize("field", OTHER)
def test_an_engine_copied_from_another_machine_under_this_name_is_built_again(
    cache: EngineCache, tmp_path: Path, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    other = replace(KEY, **{field: OTHER[field]})
    built(cache, other)
    for suffix in ("engine", "json"):
        (tmp_path / f"{other.name}.{suffix}").rename(tmp_path / f"{KEY.name}.{suffix}")
    builder = FakeBuilder(b"right")
    assert cache.load_or_build(KEY, builder) == b"right"
    assert f"another {field}" in caplog.messages[-1]


@pytest.mark.parametrize("length", [0, 1, len(ENGINE) // 2, len(ENGINE) - 1, len(ENGINE) + 1])
def test_a_truncated_or_longer_engine_is_built_again(
    cache: EngineCache, tmp_path: Path, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    built(cache)
    (tmp_path / f"{KEY.name}.engine").write_bytes((ENGINE + b"x")[:length])
    built(cache)
    assert f"has {length} bytes instead of {len(ENGINE)}" in caplog.messages[-1]
    assert cache.load_or_build(KEY, NoBuilder()) == ENGINE


def test_no_flipped_bit_is_loaded(cache: EngineCache, tmp_path: Path) -> None:
    path = tmp_path / f"{KEY.name}.engine"
    for place in range(0, len(ENGINE) * 8, 8 * 997 + 3):
        built(cache)
        flipped = bytearray(ENGINE)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        builder = FakeBuilder()
        assert cache.load_or_build(KEY, builder) == ENGINE
        assert builder.builds == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", "{}", '{"key": 3, "size": 1, "sha256": ""}', '{"key": {}}', "\udcff"]
)
def test_a_record_that_is_none_means_building_again(
    cache: EngineCache, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    built(cache)
    (tmp_path / f"{KEY.name}.json").write_bytes(text.encode(errors="surrogateescape"))
    builder = FakeBuilder()
    assert cache.load_or_build(KEY, builder) == ENGINE
    assert builder.builds == 1
    assert "cannot be read" in caplog.messages[-1]


@pytest.mark.parametrize("missing", ["engine", "json"])
def test_half_of_the_pair_means_building_again(cache: EngineCache, tmp_path: Path, missing: str) -> None:
    built(cache)
    (tmp_path / f"{KEY.name}.{missing}").unlink()
    builder = FakeBuilder()
    cache.load_or_build(KEY, builder)
    assert builder.builds == 1


def test_a_process_that_died_between_the_two_files_leaves_nothing_that_loads(
    cache: EngineCache, tmp_path: Path
) -> None:
    built(cache)
    (tmp_path / f"{KEY.name}.engine").write_bytes(b"a newer engine, its record not yet written")
    builder = FakeBuilder()
    assert cache.load_or_build(KEY, builder) == ENGINE
    assert builder.builds == 1


def test_the_record_names_every_field_and_the_hash(cache: EngineCache, tmp_path: Path) -> None:
    built(cache)
    record = json.loads((tmp_path / f"{KEY.name}.json").read_text())
    assert record["key"] == {
        "graph_sha256": "a" * 64,
        "data_sha256": "b" * 64,
        "tensorrt_version": "10.3.0",
        "gpu": "Orin",
        "compute_capability": "8.7",
        "flags": ["strongly_typed", "no_tf32"],
        "buckets": [16, 32],
    }
    assert record["sha256"] == hashlib.sha256(ENGINE).hexdigest()


def test_a_failed_build_leaves_no_engine(cache: EngineCache, tmp_path: Path) -> None:
    class Failing:
        def build(self, progress: Progress) -> bytes:
            raise EngineError("policy.onnx: expected a graph for TensorRT, got: NonZero")

    with pytest.raises(EngineError, match="NonZero"):
        cache.load_or_build(KEY, Failing())
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    built(cache)  # and the lock is free again


def test_a_full_disk_is_told_with_the_size_and_leaves_the_old_engine(
    cache: EngineCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = replace(KEY, tensorrt_version="10.2.0")
    built(cache, old)

    def no_space(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(EngineError, match=r"expected room for an engine of 3 MiB, got: No space left on device; free"):
        cache.load_or_build(KEY, FakeBuilder(b"x" * 3 * 2**20))
    assert not [path for path in tmp_path.iterdir() if KEY.name in path.name and path.suffix != ".lock"]
    assert cache.load_or_build(old, NoBuilder()) == ENGINE


def _build_with_little_room(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # Python ignores SIGXFSZ: write() fails with EFBIG
    try:
        EngineCache(folder).load_or_build(KEY, FakeBuilder())
    except EngineError:
        os._exit(7)
    os._exit(0)


def test_a_file_cut_short_by_the_system_is_never_an_engine(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_build_with_little_room, args=(tmp_path,))
    process.start()
    process.join(30)
    assert process.exitcode == 7
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EngineError, match=r"file/vla_ros: expected a folder to write to, got: Not a directory"):
        EngineCache(tmp_path / "file/vla_ros").load_or_build(KEY, FakeBuilder())


class SlowBuilder:
    """Writes a line into a file as it starts, and takes a while: long enough for the others to arrive."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def build(self, progress: Progress) -> bytes:
        with self._trace.open("a") as file:
            file.write("build\n")
        time.sleep(0.3)
        return ENGINE


def _open_slowly(folder: Path, trace: Path) -> None:
    os._exit(0 if EngineCache(folder).load_or_build(KEY, SlowBuilder(trace)) == ENGINE else 1)


def test_of_processes_that_need_the_same_engine_one_builds(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    trace = tmp_path / "trace"
    processes = [context.Process(target=_open_slowly, args=(tmp_path / "cache", trace)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert trace.read_text() == "build\n"


def test_the_log_says_that_it_builds_and_for_which_gpu(cache: EngineCache, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, tensorrt_cache.__name__):
        built(cache)
        built(cache)
    assert len(caplog.messages) == 1
    assert "building a TensorRT engine for Orin (none there yet)" in caplog.messages[0]


def test_a_line_on_stderr_shows_what_is_done_and_how_far_it_is(
    cache: EngineCache, capsys: pytest.CaptureFixture[str]
) -> None:
    built(cache)
    assert "building a TensorRT engine: fusing layers" in capsys.readouterr().err


def test_the_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_folder() == tmp_path / "cache/vla_ros/tensorrt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == tmp_path / "home/.cache/vla_ros/tensorrt"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # invalid by the specification
    assert default_folder() == tmp_path / "home/.cache/vla_ros/tensorrt"


def test_the_folder_is_the_users_alone(tmp_path: Path) -> None:
    built(EngineCache(tmp_path / "tensorrt"))
    assert (tmp_path / "tensorrt").stat().st_mode & 0o777 == 0o700
