"""A message type's definition as recordings carry it, so that they can be read where its package is not installed."""

import importlib
import os
import re
import sys
from pathlib import Path
from typing import Any

from vla_ros.errors import ConfigError

_SEPARATOR = "=" * 80
_NESTED = re.compile(r"[a-z][a-z0-9_]*/[A-Z]\w*")


def message_class(type_name: str) -> Any:
    """The class of a type like `sensor_msgs/msg/Image`.

    Raises:
        ConfigError: its package is not installed.
    """
    package, _, name = type_name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{type_name}: expected an installed message type, got: {error}") from error


def definition_of(type_name: str) -> str:
    """The text of the type's own .msg file and of all that it is made of, as rosbag2 joins them (`ros2msg`).

    Raises:
        ConfigError: the package of a type is not installed, or without its .msg files.
    """
    texts: dict[str, str] = {}
    pending = [type_name]
    while pending:
        package, _, name = pending.pop(0).split("/")
        if f"{package}/{name}" in texts:
            continue
        texts[f"{package}/{name}"] = _msg_file(package, name).read_text(encoding="utf-8")
        for kind in message_class(f"{package}/msg/{name}").get_fields_and_field_types().values():
            pending += [nested.replace("/", "/msg/") for nested in _NESTED.findall(kind)]
    first, *others = texts.items()
    return first[1] + "".join(f"\n{_SEPARATOR}\nMSG: {name}\n{text}" for name, text in others)


def _msg_file(package: str, name: str) -> Path:
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    files = [Path(prefix) / "share" / package / "msg" / f"{name}.msg" for prefix in prefixes if prefix]
    for file in files:
        if file.is_file():
            return file
    raise ConfigError(f"{package}/{name}: expected its definition in one of {', '.join(map(str, files))}, got nothing")
