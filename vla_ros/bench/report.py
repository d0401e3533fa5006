"""What every benchmark reports: figures with their units, and what they were measured with."""

import importlib.metadata
import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros import __version__
from vla_ros.errors import ConfigError
from vla_ros.evaluation.provenance import machine, utc_now


def document(
    figures: dict[str, Any], units: dict[str, str], seeds: Sequence[int], packages: Iterable[str]
) -> dict[str, Any]:
    """The object that `--json` writes.

    Args:
        figures: by name.
        units: of the figures; every number among the figures has one, a ratio has `1`.
        packages: whose versions the figures depend on.
    """
    missing = [name for name, value in figures.items() if isinstance(value, float | int) and name not in units]
    assert not missing, f"no unit for {', '.join(missing)}"
    versions = {"vla_ros": __version__, "python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in packages}
    return {
        "figures": figures,
        "units": units,
        "seeds": list(seeds),
        "versions": versions,
        "machine": machine(),
        "time": utc_now(),
    }


def check_writable(path: Path, option: str) -> None:
    """Refuse a place for a file before the run rather than after it.

    Raises:
        ConfigError: the file cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise ConfigError(f"{option} {path}: expected a writable file, got: {error.strerror}") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """One JSON object, for people to read too."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned plain text; all columns but the first are right-aligned."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    texts = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([texts[0], "  ".join("-" * width for width in widths), *texts[1:]])


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """`p50`, `p99` and `max` of durations."""
    return {
        "p50": float(np.percentile(values, 50)),
        "p99": float(np.percentile(values, 99)),
        "max": float(np.max(values)),
    }
