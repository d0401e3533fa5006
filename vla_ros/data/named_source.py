"""What a user calls a data set on the command line: its path, or a YAML file that says more about it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vla_ros.config import build, load, parse, read_text
from vla_ros.data.sources import DataSource, detect


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    source: DataSource


def named_source(path: Path) -> tuple[str, DataSource]:
    """The format's key and the source.

    Args:
        path: a data set whose format is recognised; or a YAML file, either a training config, of which only
            `data.source` is read, or one with a DataSource.

    Raises:
        DatasetError: there is no data set of a known format.
        ConfigError: the YAML file names none.
    """
    source = _from_yaml(path) if path.suffix in (".yaml", ".yml") else detect(path)
    return next(field.name for field in fields(source) if getattr(source, field.name) is not None), source


def _from_yaml(path: Path) -> DataSource:
    content = _mapping(path)
    data, folder, source, where = content.get("data"), path.parent, str(path), "data"
    if isinstance(data, str):  # the training config includes another file
        included = path.parent / data
        data, folder, source, where = _mapping(included), included.parent, str(included), ""
    if isinstance(data, dict) and "source" in data:
        return build({"source": data["source"]}, _Holder, source, where, folder).source
    return load(path, DataSource)


def _mapping(path: Path) -> dict[str, Any]:
    content = parse(read_text(path, "YAML file"), str(path))
    return content if isinstance(content, dict) else {}
