"""A run's folder: what it was begun with, and whether the same goes on."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_ros import config as yaml_config
from vla_ros.errors import ConfigError, DatasetError
from vla_ros.train import checkpoint
from vla_ros.train.config import RunConfig

CONFIG = "train.yaml"


def begin(config: RunConfig, companions: Mapping[str, str]) -> None:
    """Write the config, self-contained, and the files that belong to the weights.

    Raises:
        ConfigError: `output` cannot be written.
    """
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        for name, text in {CONFIG: yaml_config.dumps(config), **companions}.items():
            (config.output / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"output: expected a folder that can be written, got: {error}") from error


def find_checkpoint(config: RunConfig, source: Path) -> Path | None:
    """The checkpoint to go on from; None begins anew.

    Args:
        source: where the config was read, for the error.

    Raises:
        ConfigError: the run was begun with another config; names the first field that differs.
    """
    newest = checkpoint.latest(config.output)
    if newest is None:
        return None
    used = config.output / CONFIG
    difference = first_difference(yaml_config.load(used, type(config)), config)
    if difference is not None:
        path, expected, got = difference
        raise ConfigError(
            f"{source}: {path}: expected {expected!r} as in {used}, with which {config.output} was begun, got {got!r}; "
            "name another `output` or remove that folder"
        )
    return newest


def first_difference(expected: Any, got: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Dotted path and both values of the first field in which two configs differ; `output` may."""
    if not (dataclasses.is_dataclass(expected) and type(expected) is type(got)):
        return None if expected == got or path == "output" else (path, expected, got)
    for field in dataclasses.fields(expected):
        name = f"{path}.{field.name}" if path else field.name
        difference = first_difference(getattr(expected, field.name), getattr(got, field.name), name)
        if difference is not None:
            return difference
    return None


def check_companions(path: Path, companions: Mapping[str, str], mend: str) -> None:
    """Refuse to go on with other data: old weights would get new action units or another vocabulary.

    Args:
        path: the checkpoint.
        companions: today's.
        mend: what the user can do.

    Raises:
        ConfigError: one is not what the checkpoint was trained with.
    """
    expected, today = checkpoint.load_state(path).companions, checkpoint.digest_of(companions)
    different = [
        f"{name} of sha256 {expected.get(name)}, got {today.get(name)}"
        for name in {**expected, **today}
        if expected.get(name) != today.get(name)
    ]
    if different:
        raise ConfigError(f"{path / checkpoint.STATE}: companions: expected {'; '.join(different)}; {mend}")


def check_files(run: Path, path: Path) -> None:
    """Refuse statistics or a tokenizer that these weights were not trained with.

    Args:
        path: the run's checkpoint.

    Raises:
        ConfigError: one is missing.
        DatasetError: its sha256 is not the one that the checkpoint names.
    """
    for name, expected in checkpoint.load_state(path).companions.items():
        if not (run / name).is_file():
            raise ConfigError(f"{run / name}: expected a file that `vla-ros train` writes, got nothing")
        digest = hashlib.sha256((run / name).read_bytes()).hexdigest()
        if digest != expected:
            raise DatasetError(f"{run / name}: sha256: expected {expected} as in {path}, got {digest}; train anew")
