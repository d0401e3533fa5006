"""The process environment that ROS needs to carry images between processes; no ROS import."""

import os
import shutil
import sys
from pathlib import Path

from vla_ros.errors import ConfigError

PROFILE = Path("config/fastdds/shared_memory.xml")
DISCOVERY_RANGE = "LOCALHOST"
SHARED_MEMORY_BYTES = 128 * 2**20
"""Three processes with a 32 MiB segment each, and some room."""

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "67108864", "MALLOC_TRIM_THRESHOLD_": "268435456"}
"""Cuts rclpy's take of a 640x480 image from 1.44 to 0.41 ms; read by the C library before Python starts."""


def shared_file(path: Path) -> Path:
    """A file that comes with the package, by its path in the project: from a checkout, a pip or a colcon install.

    Raises:
        ConfigError: the installation is incomplete.
    """
    prefixes = [sys.prefix, *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    roots = [Path(__file__).resolve().parents[2], *(Path(p) / "share" / "vla_ros" for p in prefixes if p)]
    for root in roots:
        if (root / path).is_file():
            return root / path
    raise ConfigError(f"{path}: expected in one of {', '.join(map(str, roots))}, got nothing; reinstall vla_ros")


def fastdds_profile() -> Path:
    """The shipped Fast DDS profile.

    Raises:
        ConfigError: the installation is incomplete.
    """
    return shared_file(PROFILE)


def shared_memory_shortage(folder: Path = Path("/dev/shm")) -> str:  # noqa: S108 (Linux's own shared memory)
    """Why images will not go through shared memory, or an empty string: Fast DDS falls back to UDP in silence."""
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    if free >= SHARED_MEMORY_BYTES:
        return ""
    return (
        f"{folder}: expected {SHARED_MEMORY_BYTES // 2**20} MiB free for shared memory, got {free // 2**20} MiB: "
        "images go through UDP, which is slower and can lose them; in Docker, --shm-size=512m mends it"
    )


def ros_environment(domain_id: int | None = None) -> dict[str, str]:
    """What to add to a child process's environment; what the user has set already is kept, the domain excepted."""
    defaults = {
        "FASTDDS_DEFAULT_PROFILES_FILE": str(fastdds_profile()),
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "ROS_AUTOMATIC_DISCOVERY_RANGE": DISCOVERY_RANGE,
        **MALLOC,
    }
    additions = {name: os.environ.get(name, value) for name, value in defaults.items()}
    if domain_id is not None:
        additions["ROS_DOMAIN_ID"] = str(domain_id)
    return additions


def apply_defaults() -> None:
    """Set profile and discovery range for this process, before `rclpy.init`; with `ros2 run` nobody else does."""
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(fastdds_profile()))
    # whoever reaches the topics can instruct the robot: other hosts only where the user says so
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", DISCOVERY_RANGE)
