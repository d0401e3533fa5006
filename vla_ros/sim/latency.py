"""Latency of a policy and its network, to be replayed in a simulator that waits.

A latency is written as

    100ms                 always the same
    80/140ms              median and 99th percentile: drawn from the log-normal distribution that has both
    latencies.txt         measured: drawn from the numbers in this file, one a line [ms]
    reaction.json         measured: p50 and p99 that `vla-ros bench reaction --json` wrote
    inference.json#ROW    the same of one row, e.g. `onnx_cpu:int8`, that `vla-ros bench inference --json` wrote
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.config import read_text
from vla_ros.errors import ConfigError
from vla_ros.sim.episode import EpisodeKey

Z_99 = 2.3263478740408408
"""Standard normal quantile at 0.99."""

_NUMBERS = re.compile(r"(\d+(?:\.\d+)?)(?:/(\d+(?:\.\d+)?))?(ms|s)")
_UNIT_MS = {"ms": 1.0, "s": 1000.0}
FORMS = "`100ms`, `80/140ms` (p50/p99), a text file with one number a line [ms], or a JSON file of `vla-ros bench`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A distribution of latencies.

    Attributes:
        text: as it was written, files resolved where that is short.
        p50_ms, p99_ms: median and 99th percentile [ms].
        samples_ms: measured latencies, or none: then it is log-normal with these two.
    """

    text: str
    p50_ms: float
    p99_ms: float
    samples_ms: tuple[float, ...] = ()

    def draw_ms(self, seed: int, episode: EpisodeKey, image: int) -> float:
        """The latency of one image of an episode: always the same for the same arguments [ms]."""
        random = np.random.default_rng([seed, *episode, image])
        if self.samples_ms:
            return self.samples_ms[int(random.integers(len(self.samples_ms)))]
        if self.p99_ms <= self.p50_ms:
            return self.p50_ms
        sigma = math.log(self.p99_ms / self.p50_ms) / Z_99
        return float(self.p50_ms * math.exp(sigma * random.standard_normal()))


def split_latencies(text: str) -> tuple[str, ...]:
    """The latencies of a list such as `0,100,200ms`: a number without a unit has that of the list's last one.

    Raises:
        ConfigError: an item is empty.
    """
    items = [item.strip() for item in text.split(",")]
    unit = next((match[3] for item in reversed(items) if (match := _NUMBERS.fullmatch(item))), "ms")
    if not all(items):
        raise ConfigError(f"latency: expected {FORMS}, or several with commas in between, got {text!r}")
    return tuple(f"{item}{unit}" if _NUMBERS.fullmatch(f"{item}ms") else item for item in items)


def read_latency(text: str) -> Latency:
    """What a latency as written means.

    Raises:
        ConfigError: it is none of the forms, or a file that it names holds something else.
    """
    match = _NUMBERS.fullmatch(text)
    if match:
        p50_ms, p99_ms = (float(number or match[1]) * _UNIT_MS[match[3]] for number in (match[1], match[2]))
        return _checked(text, p50_ms, p99_ms)
    path, _, row = text.partition("#")
    if path.endswith(".json"):
        return _from_json(Path(path), row)
    if Path(path).is_file():
        return _from_samples(Path(path))
    raise ConfigError(f"latency: expected {FORMS}, got {text!r}")


def _checked(source: str, p50_ms: float, p99_ms: float) -> Latency:
    if not 0 <= p50_ms <= p99_ms < math.inf or (p50_ms == 0 < p99_ms):
        raise ConfigError(f"latency: {source}: expected p50 and p99 with 0 < p50 <= p99, got {p50_ms:g}, {p99_ms:g} ms")
    text = f"{p50_ms:g}ms" if p50_ms == p99_ms else f"{p50_ms:g}/{p99_ms:g}ms"
    return Latency(text=text, p50_ms=p50_ms, p99_ms=p99_ms)


def _from_samples(path: Path) -> Latency:
    samples: list[float] = []
    for number, line in enumerate(read_text(path, "file with one latency a line").splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = float(line)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise ConfigError(f"{path}: line {number}: expected a latency >= 0 [ms], got {line[:60]!r}")
        samples.append(value)
    if not samples:
        raise ConfigError(f"{path}: expected at least one latency [ms], got none")
    p50_ms, p99_ms = np.percentile(samples, (50, 99)).tolist()
    return Latency(text=str(path), p50_ms=p50_ms, p99_ms=p99_ms, samples_ms=tuple(samples))


def _from_json(path: Path, row: str) -> Latency:
    try:
        content = json.loads(read_text(path, "JSON file of `vla-ros bench`"))
    except ValueError as error:
        raise ConfigError(f"{path}: expected JSON of `vla-ros bench`, got: {error}") from error
    found = _percentiles(content) if isinstance(content, dict) else {}
    if not found:
        raise ConfigError(f"{path}: expected p50_ms and p99_ms, or rows with median_s and p99_s, got neither")
    if row not in found and (row or len(found) > 1):
        known = ", ".join(f"{path}#{name}" for name in found)
        raise ConfigError(f"latency: expected one of {known}, got {path}{'#' if row else ''}{row}")
    return _checked(f"{path}#{row}", *(found[row] if row in found else next(iter(found.values()))))


def _percentiles(content: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Name of each row, empty for the only one of a reaction benchmark, to its p50 and p99 [ms]."""
    inner = content.get("figures")
    figures = (inner if isinstance(inner, dict) else {}) | content
    if all(isinstance(figures.get(name), int | float) for name in ("p50_ms", "p99_ms")):
        return {"": (float(figures["p50_ms"]), float(figures["p99_ms"]))}
    listed = figures.get("rows")
    rows = [
        row
        for row in (listed if isinstance(listed, list) else [])
        if isinstance(row, dict) and all(isinstance(row.get(name), int | float) for name in ("median_s", "p99_s"))
    ]
    return {f"{row.get('engine')}:{row.get('precision')}": (1e3 * row["median_s"], 1e3 * row["p99_s"]) for row in rows}
