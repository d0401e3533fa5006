"""CALVIN's own environment, camera and task oracle, opened from the user's checkout."""

import ctypes
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vla_ros.errors import SimulatorError
from vla_ros.sim.calvin_checkout import SETUP, find_checkout
from vla_ros.sim.quiet import silently


@dataclass(frozen=True, slots=True, kw_only=True)
class CalvinWorld:
    """What `CalvinSimulator` is made of.

    Attributes:
        env: CALVIN's PlayTableSimEnv, which draws nothing by itself.
        camera: its static camera, which draws when it is asked to.
        oracle: CALVIN's Tasks.
    """

    env: Any
    camera: Any
    oracle: Any

    def close(self) -> None:
        """Free Bullet's world; once."""
        self.env.close()
        self.env.ownsPhysicsClient = False  # or its end would close it once more, and fail


def open_world(size_px: int, *, is_opengl: bool) -> CalvinWorld:
    """Open environment D.

    Args:
        size_px: side of the camera's image [px].
        is_opengl: draw with OpenGL by EGL, as CALVIN's data set was drawn; otherwise with Bullet's TinyRenderer.

    Raises:
        SimulatorError: the checkout, a package or EGL is missing, or a world is open already.
    """
    checkout = find_checkout()
    if is_opengl:
        _check_egl()
    try:
        return silently(_open, checkout, size_px, is_opengl)
    except ImportError as error:
        raise SimulatorError(f"calvin: expected CALVIN's packages, got: {error}; run `{SETUP}`") from error
    except SystemExit as error:  # calvin_env's way to say that its plugin did not load
        raise SimulatorError(
            "calvin: expected EGL with a driver that draws, got none; install a GPU's driver or the package "
            f"libgl1-mesa-dri, or: {_TINY}"
        ) from error


_TINY = "suite scene_d_tiny_renderer draws without it, less like the data set"


def _check_egl() -> None:
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError as error:
        raise SimulatorError(f"calvin: expected EGL, got: {error}; `{SETUP}` installs it, and {_TINY}") from error


def _open(checkout: Path, size_px: int, is_opengl: bool) -> CalvinWorld:
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # its import fails where there is no git
    module = importlib.import_module("calvin_env.envs.play_table_env")
    # only for its log, and it fails where the checkout is no git repository
    vars(module)["get_git_commit_hash"] = lambda path: "unknown"
    if importlib.import_module("pybullet").isConnected(physicsClientId=0):
        # calvin_env puts every robot's pedestal into the first world
        raise SimulatorError("calvin: expected one open CALVIN a process, got a second one; close the first")
    env = importlib.import_module("hydra.utils").instantiate(_compose(checkout, size_px, is_opengl).env)
    (camera,) = env.cameras
    env.cameras = []  # it would draw after every step
    for _ in range(2):  # that often the renderer prints who made it
        camera.render()
    return CalvinWorld(env=env, camera=camera, oracle=_oracle(checkout))


def _compose(checkout: Path, size_px: int, is_opengl: bool) -> Any:
    hydra = importlib.import_module("hydra")
    overrides = [
        "scene=calvin_scene_D_eval",
        "cameras=static_and_gripper",
        "~cameras.gripper",
        f"cameras.static.width={size_px}",
        f"cameras.static.height={size_px}",
        "use_vr=false",
        f"env.use_egl={str(is_opengl).lower()}",
        "env.use_scene_info=true",  # for the oracle
        "hydra/job_logging=default",  # CALVIN's own wants another package for its colours
        "hydra/hydra_logging=default",
    ]
    with hydra.initialize_config_dir(config_dir=str(checkout / "calvin_env/conf"), version_base="1.1"):
        return hydra.compose("config_data_collection", overrides=overrides)


def _oracle(checkout: Path) -> Any:
    path = checkout / "calvin_models/conf/callbacks/rollout/tasks/new_playtable_tasks.yaml"
    tasks = yaml.safe_load(path.read_text(encoding="utf-8"))["tasks"]
    return importlib.import_module("calvin_env.envs.tasks").Tasks(tasks)
