"""CALVIN's 1000 chains of five subtasks, as its own generator makes them, and the states that they start from."""

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from vla_ros.errors import SimulatorError
from vla_ros.sim.calvin_checkout import CLONE, SETUP, check_unchanged, find_checkout
from vla_ros.sim.quiet import quietly

COUNT = 1000
SHA256 = "604957a8a2d3102941b278df07df4950bc41f340ed959077b20467d5f692318a"
"""Of the 1000 official chains (those that RoboFlamingo publishes as eval_sequences.json are the same)."""

Symbols = Mapping[str, int | str]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One episode of the benchmark.

    Attributes:
        start: the world at its start in words, e.g. `drawer: open`.
        subtasks: CALVIN's names of what is asked for, in order.
    """

    start: Symbols
    subtasks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalvinBenchmark:
    """What is asked for, and from which states.

    Attributes:
        chains: in the benchmark's order.
        instructions: what the policy is told, by the name of the subtask.
        start: from the words of a chain's start to `robot_obs` [15] and `scene_obs` [24].
    """

    chains: tuple[Chain, ...]
    instructions: Mapping[str, str]
    start: Callable[[Symbols], tuple[Array, Array]]


def load_benchmark() -> CalvinBenchmark:
    """The benchmark, from the user's checkout.

    Raises:
        SimulatorError: there is no checkout, it was changed since it was joined, or its chains have not been generated.
    """
    check_unchanged(find_checkout())
    return CalvinBenchmark(chains=load_chains(), instructions=load_instructions(), start=load_start())


def load_chains() -> tuple[Chain, ...]:
    """The 1000 chains in the benchmark's order.

    Raises:
        SimulatorError: they have not been generated yet, or are not the official ones.
    """
    path = _cache()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SimulatorError(
            f"calvin: {path}: expected the benchmark's chains, got: {error.strerror}; run `{SETUP}`"
        ) from error
    if hashlib.sha256(text.encode()).hexdigest() != SHA256:
        raise SimulatorError(f"calvin: {path}: expected the benchmark's {COUNT} chains, got others; delete it")
    return tuple(Chain(start=start, subtasks=tuple(names)) for start, names in json.loads(text))


def generate_chains() -> None:
    """Have the checkout's own generator make the chains, unless that was done before: minutes, on all cores.

    Raises:
        SimulatorError: there is no checkout, or what it makes are not the official chains.
    """
    path = _cache()
    if path.exists():
        load_chains()
        return
    print(f"vla_ros: CALVIN's generator makes the benchmark's {COUNT} chains, once; this takes minutes", flush=True)
    with _without_training_code():
        generator = _import("calvin_agent.evaluation.multistep_sequences")
    text = as_text(quietly(generator.get_sequences, COUNT))
    if hashlib.sha256(text.encode()).hexdigest() != SHA256:
        raise SimulatorError(
            f"{generator.__file__}: expected it to make the benchmark's {COUNT} chains, got others; `{CLONE}` makes a "
            "fresh checkout"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def as_text(sequences: list[tuple[Symbols, tuple[str, ...]]]) -> str:
    """Chains as a line of JSON. The order of a start's words stays: CALVIN derives the places of the blocks from it."""
    return json.dumps([[start, list(names)] for start, names in sequences], separators=(",", ":"))


def load_instructions() -> Mapping[str, str]:
    """The benchmark's own sentences, which are not those of the training data.

    Raises:
        SimulatorError: there is no checkout.
    """
    path = find_checkout() / "calvin_models/conf/annotations/new_playtable_validation.yaml"
    return {name: texts[0] for name, texts in yaml.safe_load(path.read_text(encoding="utf-8")).items()}


def load_start() -> Callable[[Symbols], tuple[Array, Array]]:
    """CALVIN's own function from the words of a chain's start to the observations that it is reset to.

    Raises:
        SimulatorError: there is no checkout.
    """
    with _without_training_code():
        function: Callable[[Symbols], tuple[Array, Array]] = _import(
            "calvin_agent.evaluation.utils"
        ).get_env_state_for_initial_condition
    return function


def fnv1_32(text: str) -> int:
    """The hash that CALVIN seeds the places of the blocks with: pyhash's `fnv1_32()`, a package that no longer builds.

    It is FNV-1 from an offset of 0 over the text in UTF-16 (little-endian, as on all machines that CALVIN runs on).
    """
    value = 0
    for byte in text.encode("utf-16-le"):
        value = value * 0x01000193 % 2**32 ^ byte
    return value


@contextmanager
def _without_training_code() -> Iterator[None]:
    """While CALVIN's evaluation is imported: stand-ins for the modules of its training that it imports, but never uses.

    The functions taken from it call none of them, except for pyhash's hash.
    """
    names: dict[str, dict[str, Any]] = {
        "torch": {},
        "calvin_agent.models.mcil": {"MCIL": None},
        "calvin_agent.utils.utils": {"add_text": None, "format_sftp_path": None},
        "pyhash": {"fnv1_32": lambda: fnv1_32},
    }
    before = {name: sys.modules.get(name) for name in names}
    for name, content in names.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(content)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _import(name: str) -> Any:
    find_checkout()
    try:
        return quietly(importlib.import_module, name)
    except ImportError as error:
        raise SimulatorError(f"calvin: expected to import {name}, got: {error}; run `{SETUP}`") from error


def _cache() -> Path:
    """Where the chains of this generator are kept, so that they are made once on a machine."""
    generator = find_checkout() / "calvin_models/calvin_agent/evaluation/multistep_sequences.py"
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "vla_ros/calvin" / hashlib.sha256(generator.read_bytes()).hexdigest()[:12] / "chains.json"
