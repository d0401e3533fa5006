"""Training states on disk, each whole or not there: `<output>/checkpoints/step-00000200/`.

    model.safetensors      what is validated and exported: the average of the weights, else the weights
    training.safetensors   what training needs beside it: the optimizer's moments, and the weights behind an average
    sharded/               instead of training.safetensors under FSDP and DeepSpeed: accelerate's own state, a part per
                           process; `output` must then be a folder that all machines share
    state.json             written last: see `State`

A checkpoint is written into a hidden folder, flushed to disk and renamed; older ones go only after that.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vla_ros import config
from vla_ros.errors import ConfigError, DatasetError, VlaRosError
from vla_ros.train.window import Window

FOLDER = "checkpoints"
MODEL = "model.safetensors"
TRAINING = "training.safetensors"
SHARDED = "sharded"
STATE = "state.json"
_PARTIAL = ".partial-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The validation that was the best so far: its step and its figure."""

    step: int
    figure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of a checkpoint without reading its weights.

    Attributes:
        step: updates done.
        companions: sha256 of the files without which the weights mean something else, by name.
        best: the best validation up to here; None before the first.
        window: training figures since the last validation.
        files: sha256 of the safetensors files, by name; `staged` fills them in. The parts of a sharded state are not
            among them: no process has read them all.
    """

    step: int
    companions: dict[str, str]
    best: Best | None = None
    window: Window = field(default_factory=Window)
    files: dict[str, str] = field(default_factory=dict)


def digest_of(companions: Mapping[str, str]) -> dict[str, str]:
    """Sha256 of each text, by file name."""
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in companions.items()}


def path_of(output: Path, step: int) -> Path:
    """The folder of a run's checkpoint after so many updates."""
    return output / FOLDER / f"step-{step:08d}"


def latest(output: Path) -> Path | None:
    """The newest checkpoint of a run; None if it has none."""
    return max((output / FOLDER).glob("step-*"), default=None)


def last_good(output: Path) -> str:
    """What an error says of the state that it leaves behind."""
    kept = latest(output)
    return "there is no checkpoint yet" if kept is None else f"{kept} is the last good one"


def best(output: Path) -> Path:
    """The checkpoint of the best validation; before the first validation the newest one.

    Raises:
        DatasetError: the run has no checkpoint, or it is damaged.
    """
    newest = latest(output)
    if newest is None:
        raise DatasetError(f"{output / FOLDER}: expected a checkpoint of vla-ros train, got none")
    found = load_state(newest).best
    return newest if found is None else path_of(output, found.step)


def load_state(path: Path) -> State:
    """Read state.json.

    Raises:
        DatasetError: `path` is no checkpoint.
    """
    try:
        text = config.read_text(path / STATE, "checkpoint of vla-ros train")
        return config.build(json.loads(text), State, str(path / STATE))
    except (ConfigError, json.JSONDecodeError) as error:
        raise DatasetError(f"{path}: expected a checkpoint of vla-ros train, got: {error}") from error


def load_model(path: Path) -> dict[str, Tensor]:
    """The weights that are validated and exported, under the names of the task's module.

    Raises:
        DatasetError: `path` is no checkpoint, or it is damaged.
    """
    return load_part(path, MODEL)


def load_part(path: Path, name: str) -> dict[str, Tensor]:
    """One file of a checkpoint, which must be the one that was written.

    Raises:
        DatasetError: it is not there, or it is damaged.
    """
    expected = load_state(path).files.get(name)
    if expected is None:
        raise DatasetError(f"{path / STATE}: files: expected the sha256 of {name}, got none; train anew")
    try:
        digest = _digest_of_file(path / name)
    except OSError as error:
        raise DatasetError(f"{path / name}: expected a file of the checkpoint, got: {error.strerror}") from error
    if digest != expected:
        raise DatasetError(
            f"{path / name}: sha256: expected {expected} as in {STATE}, got {digest}; remove {path} to go on from the "
            "checkpoint before it"
        )
    return load_tensors(path / name)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file as it is.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise DatasetError(f"{path}: expected a checkpoint of vla-ros train, got: {error}") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one file of a checkpoint."""
    seen: set[int] = set()
    stored = {}
    for name, tensor in tensors.items():
        values = tensor.detach().cpu().contiguous()
        # tied weights share memory, which safetensors refuses
        stored[name] = values.clone() if values.data_ptr() in seen else values
        seen.add(values.data_ptr())
    save_file(stored, path)


@contextmanager
def staged(output: Path, state: State) -> Iterator[Path]:
    """Within the block, an empty folder to write a checkpoint into; after it, the checkpoint, or nothing at all.

    Raises:
        VlaRosError: it could not be written, e.g. because the disk is full; the older ones are as they were.
    """
    partial, final = partial_path(output, state.step), path_of(output, state.step)
    try:
        clear_unfinished(output)
        partial.mkdir(parents=True)
        yield partial
        state = replace(state, files={path.name: _digest_of_file(path) for path in partial.glob("*.safetensors")})
        (partial / STATE).write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
        _flush(partial)
        partial.rename(final)
        _flush_folder(final.parent)
    except (OSError, SafetensorError) as error:
        raise VlaRosError(f"{final}: expected to write the checkpoint, got: {error}; {last_good(output)}") from error
    finally:
        clear_unfinished(output)


def partial_path(output: Path, step: int) -> Path:
    """Where the checkpoint of this step is while it is written."""
    return output / FOLDER / f"{_PARTIAL}{step:08d}"


def clear_unfinished(output: Path) -> None:
    """Remove what a killed process has left of checkpoints that it was writing or removing."""
    for path in (output / FOLDER).glob(f"{_PARTIAL}*"):
        shutil.rmtree(path)


def prune(output: Path, state: State, keep_last: int) -> None:
    """Remove all checkpoints but the best and the newest `keep_last`."""
    steps = sorted((output / FOLDER).glob("step-*"))
    kept = set(steps[-keep_last:])
    if state.best is not None:
        kept.add(path_of(output, state.best.step))
    for path in steps:
        if path not in kept:
            # renamed first: a kill leaves no half of a checkpoint that looks like a whole one
            removed = path.rename(path.with_name(f"{_PARTIAL}removed"))
            shutil.rmtree(removed)


def _digest_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            _flush_folder(path)
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
