"""Fields of a transformers config from YAML, checked as strictly as our own dataclasses."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from transformers import PreTrainedConfig

from vla_ros.errors import ConfigError

UNDECLARED = {"model_type", "vision_use_head"}
"""Fields that transformers reads without declaring them; the second by SigLIP before 5.23."""


@contextmanager
def fields_of(mapping: str) -> Iterator[None]:
    """Errors inside name their field by its whole path, below `mapping`."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{mapping}.{error}") from error


@contextmanager
def refused(expected: str) -> Iterator[None]:
    """What transformers raises on damaged files and impossible sizes, as one line that begins with `expected`."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # anything: KeyError, ZeroDivisionError, ImportError, SafetensorError and its own
        reason = " ".join(str(error).split())
        raise ConfigError(f"{expected}, got {type(error).__name__}: {reason}") from error


def read_fields(fields: dict[str, Any], configs: dict[str, type[PreTrainedConfig]]) -> PreTrainedConfig:
    """The config that `fields` describe; what they do not name keeps transformers' default.

    Args:
        configs: by `model_type`; the first is meant where `fields` name none.

    Raises:
        ConfigError: `model_type` is none of them, or a field is unknown, of another type or fits no other.
    """
    model_type = fields.get("model_type", next(iter(configs)))
    if model_type not in configs:
        raise ConfigError(f"model_type: expected one of {', '.join(configs)}, got {model_type!r}")
    with refused(f"model_type: expected fields that make a {model_type} model"):
        # a copy, as transformers writes defaults into nested mappings
        config = configs[model_type](
            **{name: deepcopy(value) for name, value in fields.items() if name != "model_type"}
        )
    _check_known(fields, config, "")
    return config


def check_agreement(given: dict[str, Any], configs: dict[str, type[PreTrainedConfig]], found: PreTrainedConfig) -> None:
    """Refuse weights of another shape than `given` says.

    Raises:
        ConfigError: names the first field of `given` whose value is another one in `found`.
    """
    if given.get("model_type", next(iter(configs))) != found.model_type:
        raise ConfigError(f"model_type: expected {found.model_type} as in config.json, got {given.get('model_type')}")
    _compare(given, read_fields(given, configs), found, "")


def _compare(given: dict[str, Any], expected: Any, found: Any, where: str) -> None:
    """Only what is given counts: config.json may say more, in other words, or in an older layout."""
    for name, value in given.items():
        mine, theirs = _member(expected, name), _member(found, name)
        if isinstance(mine, PreTrainedConfig | dict):
            _compare(value, mine, theirs, f"{where}{name}.")
        elif _plain(mine) != _plain(theirs):
            raise ConfigError(f"{where}{name}: expected {theirs} as in config.json, got {value}")


def _member(owner: Any, name: str) -> Any:
    return owner.get(name) if isinstance(owner, dict) else getattr(owner, name, None)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_known(fields: Any, config: PreTrainedConfig, where: str) -> None:
    """Refuse what transformers takes in silence: a misspelt field leaves the default of a far larger model."""
    if not isinstance(fields, dict):
        raise ConfigError(f"{where.rstrip('.')}: expected a mapping, got {type(fields).__name__} {fields!r}")
    known = [field.name for field in dataclasses.fields(config)]
    for name, value in fields.items():
        if name not in known and name not in {*config.attribute_map, *UNDECLARED}:
            raise ConfigError(f"{where}{name}: expected one of {', '.join(known)}, got {name!r}")
        part = getattr(config, name)
        if isinstance(part, PreTrainedConfig):
            _check_known(value, part, f"{where}{name}.")
