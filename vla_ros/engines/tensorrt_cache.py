"""TensorRT engines on this machine's disk: built here, for this GPU, and never shipped.

    ~/.cache/vla_ros/tensorrt/     ($XDG_CACHE_HOME instead of ~/.cache, where it is set)
      <key>.engine    what TensorRT serialised
      <key>.json      every field of the key, and the engine's size and sha256
      <key>.lock      held while one process builds

An engine whose name, key or hash does not fit is built again, and the log says why: TensorRT itself checks too little,
and a flipped bit in the weights would load. The folder may be deleted at any time.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from vla_ros.errors import EngineError

LOG = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Told what the builder does, how many steps of that are done, and out of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKey:
    """All that an engine depends on: a change of any field means another engine.

    Attributes:
        graph_sha256, data_sha256: of policy.onnx and of policy.onnx.data.
        tensorrt_version: the full version; engines of another one do not load, or run other kernels.
        gpu: its name, as CUDA gives it.
        compute_capability: of the GPU, `major.minor`.
        flags: how the builder was configured.
        buckets: values of the dimension `tokens`, one optimisation profile each, in this order.
    """

    graph_sha256: str
    data_sha256: str
    tensorrt_version: str
    gpu: str
    compute_capability: str
    flags: tuple[str, ...]
    buckets: tuple[int, ...]

    @property
    def fields(self) -> dict[str, Any]:
        """As JSON gives them back."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return fields

    @property
    def name(self) -> str:
        """64 hexadecimal digits; the stem of the engine's files."""
        return hashlib.sha256(json.dumps(self.fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class EngineBuilder(Protocol):
    """Makes the engine of one key; minutes for a real policy."""

    def build(self, progress: Progress) -> bytes:
        """The serialised engine. Raises EngineError if TensorRT refuses the graph or runs out of memory."""


class EngineCache:
    """The folder above."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or default_folder()

    def load_or_build(self, key: EngineKey, builder: EngineBuilder) -> bytes:
        """The engine of a key, from disk if it is whole, else built and kept; one process builds, others wait for it.

        Raises:
            EngineError: the builder failed, or the folder cannot be written.
        """
        engine, _ = self._load(key)
        if engine is not None:
            return engine
        with self._locked(key):
            engine, reason = self._load(key)  # another process may have built it meanwhile
            if engine is not None:
                return engine
            LOG.warning("%s: building a TensorRT engine for %s (%s)", self._path(key, "engine"), key.gpu, reason)
            with progress_line("building a TensorRT engine") as progress:
                engine = builder.build(progress)
            self._store(key, engine)
            return engine

    def _load(self, key: EngineKey) -> tuple[bytes | None, str]:
        """The engine, or None and why not."""
        try:
            record = json.loads(self._path(key, "json").read_text(encoding="utf-8"))
            found, size, sha256 = record["key"], record["size"], record["sha256"]
            different = [name for name, value in key.fields.items() if found.get(name) != value]
            if different:
                return None, f"the one there has another {', '.join(different)}"
            engine = self._path(key, "engine").read_bytes()
        except FileNotFoundError:
            return None, "none there yet"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return None, f"the one there cannot be read: {type(error).__name__}: {error}"
        if len(engine) != size:
            return None, f"the one there has {len(engine)} bytes instead of {size}"
        if hashlib.sha256(engine).hexdigest() != sha256:
            return None, "the one there is damaged: another sha256"
        return engine, ""

    def _store(self, key: EngineKey, engine: bytes) -> None:
        record = {"key": key.fields, "size": len(engine), "sha256": hashlib.sha256(engine).hexdigest()}
        path = self._path(key, "engine")
        try:
            # between the two the engine does not fit the old record, and would be built again
            _replace(path, engine)
            _replace(self._path(key, "json"), json.dumps(record, indent=2).encode())
        except OSError as error:
            mib = len(engine) / 2**20
            raise EngineError(
                f"{path}: expected room for an engine of {mib:.0f} MiB, got: {error.strerror}; "
                f"free some, or let XDG_CACHE_HOME name another folder"
            ) from error

    @contextlib.contextmanager
    def _locked(self, key: EngineKey) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # an engine is code that the GPU runs
            lock = self._path(key, "lock").open("wb")
        except OSError as error:
            raise EngineError(f"{self._folder}: expected a folder to write to, got: {error.strerror}") from error
        with lock:  # the kernel releases it with the process, however that ends
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                LOG.warning("%s: another process builds this engine; waiting for it", lock.name)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, key: EngineKey, suffix: str) -> Path:
        return self._folder / f"{key.name}.{suffix}"


@contextlib.contextmanager
def progress_line(task: str) -> Iterator[Progress]:
    """One line on stderr: the task, what is done of it right now, and how far that is."""
    with tqdm(desc=task, unit="step") as bar:

        def show(phase: str, done: int, total: int) -> None:
            bar.set_description(f"{task}: {phase}", refresh=False)
            bar.total, bar.n = total, done
            bar.refresh()

        yield show


def default_folder() -> Path:
    """Where engines are kept: the XDG base directory specification, which ignores a relative path."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "vla_ros" / "tensorrt"


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; the caller holds the lock, so one name for the part is enough."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
