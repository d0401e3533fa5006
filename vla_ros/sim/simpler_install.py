"""Finding and opening ManiSkill's Bridge tasks without questions on stdin and without chatter.

As a program, what `make setup-simpler` ends with: it downloads ManiSkill's models and photographs, where they are
missing.
"""

import importlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.errors import SimulatorError
from vla_ros.sim.lavapipe import choose_lavapipe
from vla_ros.sim.quiet import quietly

ASSETS = {
    "bridge_v2_real2sim": "tasks/bridge_v2_real2sim_dataset/custom/info_bridge_custom_v0.json",
    "widowx250s": "robots/widowx/wx250s.urdf",
}
"""ManiSkill's own names for the downloads, and a file of each; its folder alone is also there after one that failed."""


def load_tasks() -> dict[str, Any]:
    """ManiSkill's environments by name.

    Raises:
        SimulatorError: ManiSkill, its assets or a Vulkan for the CPU are missing.
    """
    if importlib.util.find_spec("mani_skill") is None:
        raise SimulatorError("simpler: expected ManiSkill in this environment, got none; run `make setup-simpler`")
    choose_lavapipe()
    missing = missing_assets()
    if missing:
        raise SimulatorError(
            f"simpler: {asset_folder()}: expected ManiSkill's assets {', '.join(missing)}, got none; "
            "`make setup-simpler` downloads them, or MS_ASSET_DIR names the folder that has them in data/"
        )
    return dict(_import("mani_skill.envs", "mani_skill.utils.registration").REGISTERED_ENVS)


def open_environment(tasks: dict[str, Any], name: str) -> Any:
    """One environment on the CPU, which draws no picture until it is asked to `look`."""
    base: Any = tasks[name].cls

    class Environment(base):
        # ManiSkill keeps both on the class, and its environments of one process would mix up each other's overlays
        _rgb_overlay_images: dict[str, Any] = {}  # noqa: RUF012 (one class an environment)
        _objects_to_remove_from_greenscreen: list[Any] = []  # noqa: RUF012

        def get_obs(self, info: Any = None, unflattened: bool = False) -> dict[str, Any]:
            """Nothing: `step` and `reset` would draw a picture each time."""
            return {}

        def look(self, camera: str) -> NDArray[np.uint8]:
            """The picture now, with the photograph behind it."""
            picture = super().get_obs()["sensor_data"][camera]["rgb"][0].numpy()
            return np.ascontiguousarray(picture, np.uint8)

    return quietly(Environment, obs_mode="rgb+segmentation", sim_backend="cpu", render_backend="cpu")


def asset_folder() -> Path:
    """Where ManiSkill looks for its assets."""
    return Path(os.environ.get("MS_ASSET_DIR") or Path.home() / ".maniskill") / "data"


def missing_assets() -> list[str]:
    """ManiSkill's names of those assets that are not there."""
    return [name for name, file in ASSETS.items() if not (asset_folder() / file).is_file()]


def download_assets() -> None:
    """Download what is missing, by ManiSkill's own means.

    Raises:
        SimulatorError: they could not be had.
    """
    for name in missing_assets():
        download, sources = _import("mani_skill.utils.download_asset"), _import("mani_skill.utils.assets")
        source = sources.DATA_SOURCES[name]
        try:
            download.download(source)
        except OSError as error:  # no network: urllib's errors, and a wrong checksum
            # ManiSkill would take the empty folder for the assets
            shutil.rmtree(source.output_dir / source.target_path, ignore_errors=True)
            raise SimulatorError(
                f"simpler: expected to download ManiSkill's {name} to {asset_folder()}, got: {error}; all else is "
                "installed. Run `make setup-simpler` again where there is a network, or have MS_ASSET_DIR name a "
                "folder that has it in data/"
            ) from error


def _import(*names: str) -> Any:
    """The last of these modules."""
    return [quietly(importlib.import_module, name) for name in names][-1]


if __name__ == "__main__":
    try:
        download_assets()
    except SimulatorError as error:
        sys.exit(f"vla_ros: {error}")
