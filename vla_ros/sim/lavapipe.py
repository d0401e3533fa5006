"""Finding Mesa's Vulkan on the CPU, lavapipe. As a program, with only the standard library: is there one to be had?"""

import json
import os
import sys
from pathlib import Path

from vla_ros.errors import SimulatorError

LEAST_VULKAN = (1, 4)
"""What the lavapipe of Mesa 25 offers. SAPIEN cannot draw with older ones: tried and seen with Mesa 22.3."""

SYSTEM = ("/etc/xdg", "/etc")
CHOSEN_BY_USER = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
"""Either, where it is set, already names the drivers that Vulkan's loader takes."""


def find_lavapipe() -> Path:
    """The loader's description of lavapipe.

    Raises:
        SimulatorError: there is none, or only one that is too old.
    """
    least = ".".join(map(str, LEAST_VULKAN))
    too_old = []
    for folder in _driver_folders():
        for path in sorted(folder.glob("lvp_icd*.json")):
            version = _vulkan_version(path)
            if version >= LEAST_VULKAN:
                return path
            too_old.append(f"{path} with Vulkan {'.'.join(map(str, version))}")
    raise SimulatorError(
        f"lavapipe: expected Mesa's Vulkan {least} on the CPU (package mesa-vulkan-drivers 25 or newer), "
        f"got {', '.join(too_old) or 'none'}; `make setup-simpler` installs it"
    )


def choose_lavapipe() -> None:
    """Have Vulkan's loader take lavapipe, unless the environment chooses another; before Vulkan is first used.

    Raises:
        SimulatorError: as `find_lavapipe`.
    """
    if not any(os.environ.get(name) for name in CHOSEN_BY_USER):
        os.environ["VK_ICD_FILENAMES"] = str(find_lavapipe())


def _driver_folders() -> list[Path]:
    """Where Vulkan's loader looks, in its order."""
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    roots = [os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config"), *SYSTEM]
    return [Path(root) / "vulkan/icd.d" for root in [*roots, home, *shared.split(":")] if root]


def _vulkan_version(path: Path) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in json.loads(path.read_text())["ICD"]["api_version"].split("."))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SimulatorError(f"{path}: expected a Vulkan driver's description, got {error!r}") from error


if __name__ == "__main__":
    try:
        print(find_lavapipe())
    except SimulatorError as error:
        sys.exit(str(error))
