"""A stand-in for CALVIN's world that answers as the real one did, and accepts only the actions that it was given."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from test.sim.fixtures.make_calvin import FILE, INSTRUCTION
from vla_ros.action import Command
from vla_ros.sim.calvin import CalvinSimulator
from vla_ros.sim.calvin_chains import CalvinBenchmark, Chain
from vla_ros.sim.calvin_world import CalvinWorld

OPEN_DRAWER_M = 0.12
"""`open_drawer: [move_door_rel, base__drawer, 0.12]` (CALVIN's new_playtable_tasks.yaml)."""
DRAWER = 1
"""Index in `scene_obs`."""

Trace = Mapping[str, NDArray[Any]]


def load_trace() -> Trace:
    """See `make_calvin.py`."""
    with np.load(FILE) as stored:
        return dict(stored)


def command(trace: Trace, step: int) -> Command:
    """As it was given to the simulator."""
    gripper = trace["gripper"][step]
    return Command(delta=trace["delta"][step], gripper=None if np.isnan(gripper) else float(gripper))


class ReplayedEnv:
    """PlayTableSimEnv, as far as CalvinSimulator uses it."""

    ownsPhysicsClient = True  # noqa: N815 (calvin_env's name)

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.steps = 0

    def reset(self, robot_obs: NDArray[np.float64], scene_obs: NDArray[np.float64]) -> None:
        np.testing.assert_array_equal(robot_obs, self.trace["robot"][0])
        np.testing.assert_array_equal(scene_obs, self.trace["scene"][0])
        self.steps = 0

    def step(self, action: NDArray[np.float64]) -> tuple[None, int, bool, dict[str, Any]]:
        np.testing.assert_array_equal(action, self.trace["action"][self.steps])
        self.steps += 1
        return None, 0, False, self.get_info()

    def get_info(self) -> dict[str, Any]:
        return {"step": self.steps, "drawer_m": self.trace["scene"][self.steps][DRAWER]}

    def get_state_obs(self) -> dict[str, NDArray[np.float64]]:
        return {"robot_obs": self.trace["robot"][self.steps], "scene_obs": self.trace["scene"][self.steps]}

    def close(self) -> None:
        pass


class ReplayedCamera:
    """Shows only what was recorded."""

    def __init__(self, env: ReplayedEnv) -> None:
        self._env = env
        self.rendered = 0

    def render(self) -> tuple[NDArray[np.uint8], None]:
        self.rendered += 1
        (index,) = np.flatnonzero(self._env.trace["image_step"] == self._env.steps)
        return self._env.trace["image"][index], None


class DrawerOracle:
    """CALVIN's Tasks with one task, by its definition."""

    def get_task_info_for_set(self, start_info: Any, end_info: Any, task_filter: set[str]) -> set[str]:
        is_done = end_info["drawer_m"] - start_info["drawer_m"] > OPEN_DRAWER_M
        return {"open_drawer"} & task_filter if is_done else set()


def replayed_simulator(trace: Trace) -> CalvinSimulator:
    """CalvinSimulator on the recorded world, with one chain that asks twice for the same."""
    benchmark = CalvinBenchmark(
        chains=(Chain(start={"drawer": "closed"}, subtasks=("open_drawer", "open_drawer")),),
        instructions={"open_drawer": INSTRUCTION},
        start=lambda words: (trace["robot"][0], trace["scene"][0]),
    )

    def open_world(size_px: int, *, is_opengl: bool) -> CalvinWorld:
        env = ReplayedEnv(trace)
        return CalvinWorld(env=env, camera=ReplayedCamera(env), oracle=DrawerOracle())

    return CalvinSimulator("scene_d_tiny_renderer", benchmark=benchmark, open_world=open_world)
