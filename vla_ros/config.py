"""YAML into frozen dataclasses: the dataclass is the schema, and nothing that it does not know is accepted.

Where a mapping is expected, the path of a YAML file that holds it, relative to the file at hand, does as well.
"""

import contextlib
import dataclasses
import math
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vla_ros.errors import ConfigError, ContractError

T = TypeVar("T")


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice and every alias (an alias bomb needs them, a config does not)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"line {self.peek_event().start_mark.line + 1}: aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: expected a plain key, got a {key_node.id}")
            if key_node.value in seen:
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: key {key_node.value!r} is given twice")
            seen.add(key_node.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def load(path: Path | str, cls: type[T]) -> T:
    """Read one YAML file into the dataclass `cls`.

    Raises:
        ConfigError: no such file, not YAML, an unknown, missing or ill-typed key, or a value out of its range.
    """
    text = read_text(Path(path), "YAML file")
    return build(parse(text, str(path)), cls, str(path), folder=Path(path).parent)


def read_text(path: Path, kind: str) -> str:
    """The text of a file that the user named; `kind` is what it should be, for the error.

    Raises:
        ConfigError: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable {kind}, got {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8 text, got {error.reason}") from error


def loads(text: str, cls: type[T], source: str) -> T:
    """Read YAML text, which may name no other file, into `cls`; `source` names its origin in errors."""
    return build(parse(text, source), cls, source)


def dumps(instance: Any) -> str:
    """A dataclass as YAML text that `loads` reads back; files that it was loaded from are part of it."""
    return str(yaml.safe_dump(_plain(instance), sort_keys=False, width=120))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def parse(text: str, source: str) -> Any:
    """YAML text to plain mappings, lists and scalars: no tags, no aliases, no key twice.

    Raises:
        ConfigError: the text is not such YAML.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError) as error:
        # PyYAML's own constructors raise the plain ones, e.g. for `2026-99-99` and `!!int ""`
        raise ConfigError(f"{source}: expected YAML, got: {' '.join(str(error).split())}") from error


def build(value: Any, cls: type[T], source: str, where: str = "", folder: Path | None = None) -> T:
    """Fill the dataclass `cls` from a mapping.

    Args:
        folder: where paths of included YAML files start; None refuses them.

    Raises:
        ConfigError: names the file, the dotted path, what was expected and what was found.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{source}: {where or 'top level'}: expected a mapping, got {_shown(value)}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in value:
        if key not in fields:
            raise ConfigError(f"{source}: {_join(where, str(key))}: expected one of {', '.join(fields)}, got {key!r}")
    hints = typing.get_type_hints(cls)
    arguments = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = _convert(value[name], hints[name], source, _join(where, name), folder)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{source}: {_join(where, name)}: expected {_name(hints[name])}, got nothing")
    try:
        return cls(**arguments)
    except (ValueError, ContractError) as error:  # a range check of the dataclass's own __post_init__
        raise ConfigError(f"{source}: {_join(where, str(error))}") from error


def override(instance: T, source: str, **changes: Any) -> T:
    """A copy with those changes that are not None, checked as the file was.

    Raises:
        ConfigError: a value is out of its range; `source` names where it came from.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return dataclasses.replace(instance, **given)  # type: ignore[type-var]
    except (ValueError, ContractError) as error:
        raise ConfigError(f"{source}: {error}") from error


def check_numbers(values: Any, *names: str, least: float | None = None, above: float | None = None) -> None:
    """For a `__post_init__`: these fields, numbers or tuples of them, are finite and in range.

    Raises:
        ValueError: one is not finite, smaller than `least` or not larger than `above`.
    """
    wanted = "a finite number" if least is above is None else f">= {least}" if above is None else f"> {above}"
    for name in names:
        value = getattr(values, name)
        for number in value if isinstance(value, tuple) else (value,):
            is_in_range = (least is None or number >= least) and (above is None or number > above)
            if not (math.isfinite(number) and is_in_range):
                raise ValueError(f"{name}: expected {wanted}, got {value}")


def _convert(value: Any, hint: Any, source: str, where: str, folder: Path | None) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:  # handed on to a library that checks it itself
        return value
    if dataclasses.is_dataclass(hint):
        if folder is not None and isinstance(value, str) and value.endswith(".yaml"):
            return load(folder / value, typing.cast(type, hint))
        return build(value, typing.cast(type, hint), source, where, folder)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [option for option in arguments if option is not type(None)]
        if len(options) == 1:
            return _convert(value, options[0], source, where, folder)
        for option in options:
            with contextlib.suppress(ConfigError):
                return _convert(value, option, source, where, folder)
        expected = " or ".join(map(_name, options))
        raise ConfigError(f"{source}: {where}: expected {expected}, got {_shown(value)}")
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{source}: {where}: expected {_name(hint)}, got {_shown(value)}")
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(value) == len(arguments):
            items = zip(value, arguments, strict=True)
            return tuple(_convert(v, a, source, f"{where}[{i}]", folder) for i, (v, a) in enumerate(items))
    if origin is dict and isinstance(value, dict):
        key_hint, item_hint = arguments
        return {
            _convert(k, key_hint, source, f"{where} key", folder): _convert(
                v, item_hint, source, _join(where, str(k)), folder
            )
            for k, v in value.items()
        }
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (str, int, float, bool) and type(value) is hint:
        return value
    raise ConfigError(f"{source}: {where}: expected {_name(hint)}, got {_shown(value)}")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _name(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(hint)))}"
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
