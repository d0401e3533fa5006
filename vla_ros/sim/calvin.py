"""CALVIN (https://github.com/mees/calvin): chains of five instructions in environment D, in Bullet; one camera.

Importing this module imports neither CALVIN nor Bullet; opening a `CalvinSimulator` does.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ARM_DIM, GRIPPER_CLOSED, GRIPPER_OPEN, ActionSpace, Command
from vla_ros.data.conventions import CALVIN
from vla_ros.errors import SimulatorError
from vla_ros.observation import CameraSpec
from vla_ros.sim.calvin_chains import CalvinBenchmark, load_benchmark
from vla_ros.sim.calvin_world import CalvinWorld, open_world
from vla_ros.sim.quiet import silently
from vla_ros.sim.simulator import SimTask, Subtask

CAMERA_NAME = "rgb_static"
CAMERA_SIZE_PX = 200
MAX_STEPS = 360
HALF_OPEN = 0.5

SUITES = {"scene_d": True, "scene_d_tiny_renderer": False}
"""Whether the images are drawn with OpenGL, as those of CALVIN's data set are."""

Array = NDArray[np.float64]


class CalvinSimulator:
    """CALVIN's long-horizon benchmark behind the `Simulator` interface.

    There is one task, the chains: initial state i is chain i of the 1000, with its own five subtasks.

    Frame: each delta is added to the *target* of the arm, not to its measured pose, along the axes of the world, which
    are those of the robot's base. What is commanded in sum is what the arm moves; a stop keeps the target. A blocked
    arm does not stop its target, which goes on ahead of it.

    Rotation: the deltas are added to the target's Euler angles about the fixed axes x, y and z; they are no rotations
    about those axes themselves.

    The gripper knows open and closed; what is in between is the nearer of the two.

    Determinism: equal (chain, commands) give bit-identical states, whatever was done before and in any process of one
    machine: `reset` opens a new world (0.3 to 0.7 s), as contacts of the last episode would live on in Bullet's, and
    calvin_env's own way to load one anew leaks 12 MB each time. Nothing depends on the seed. Images of `scene_d` depend
    on the OpenGL driver, in the last bits.

    Args:
        suite: `scene_d`, drawn with OpenGL by EGL as CALVIN's data set is; or `scene_d_tiny_renderer`, drawn by Bullet
            itself: it needs no driver, but has other light and textures and no shadows.
        width_px, height_px: of the camera's image, which is square. CALVIN's own is 200 x 200.
        benchmark: chains and instructions; None: those of the user's checkout.
        open_world: opens the user's checkout, or a test's stand-in.

    Raises:
        SimulatorError: there is no such suite; a part of CALVIN is missing.
    """

    def __init__(
        self,
        suite: str = "scene_d",
        width_px: int = CAMERA_SIZE_PX,
        height_px: int = CAMERA_SIZE_PX,
        *,
        benchmark: CalvinBenchmark | None = None,
        open_world: Callable[..., CalvinWorld] = open_world,
    ) -> None:
        if suite not in SUITES:
            raise SimulatorError(f"suite: expected one of {', '.join(SUITES)}, got {suite!r}")
        if width_px != height_px:
            raise SimulatorError(f"{suite}: camera: expected a square image, got {width_px} x {height_px} px")
        self.camera = CameraSpec(name=CAMERA_NAME, width=width_px, height=height_px)
        self.action_space: ActionSpace = CALVIN.action
        self.ends_at_success = True
        self.max_steps = MAX_STEPS
        self.suite = suite
        self._open_world = open_world
        self._world: CalvinWorld | None = None
        self._benchmark = load_benchmark() if benchmark is None else benchmark
        self._chains = self._benchmark.chains
        self._task = SimTask(
            index=0, name="chains", instruction="five instructions in a row", initial_states=len(self._chains)
        )
        self._opening = GRIPPER_OPEN
        self._subtask = ""
        self._info: Any = None
        self._info_at_start: Any = None

    def tasks(self) -> tuple[SimTask, ...]:
        """The chains, as one task."""
        return (self._task,)

    def reset(self, task: SimTask, initial_state: int, seed: int) -> None:
        """Put the world into the initial state of one chain, as CALVIN's evaluation does."""
        self._check(task, initial_state)
        robot_obs, scene_obs = self._benchmark.start(self._chains[initial_state].start)
        self.close()
        self._world = self._open_world(self.camera.width, is_opengl=SUITES[self.suite])
        env = self._world.env
        env.reset(robot_obs=robot_obs, scene_obs=scene_obs)
        self._opening = GRIPPER_OPEN
        self._subtask = ""
        self._info = self._info_at_start = env.get_info()

    def subtasks(self, task: SimTask, initial_state: int) -> tuple[Subtask, ...]:
        """The five of this chain."""
        self._check(task, initial_state)
        names = self._chains[initial_state].subtasks
        return tuple(Subtask(name=name, instruction=self._benchmark.instructions[name]) for name in names)

    def begin(self, subtask: Subtask) -> None:
        """CALVIN's tasks are changes of the world from here on."""
        self._subtask = subtask.name
        self._info_at_start = self._info

    def render(self) -> NDArray[np.uint8]:
        """The static camera's view now: uint8 [height, width, 3], RGB, upright."""
        image, _ = self._opened.camera.render()
        return np.ascontiguousarray(image, np.uint8)

    def step(self, command: Command) -> None:
        """Execute one control period of 1/30 s."""
        self._opening = opening_after(command, self._opening)
        *_, self._info = self._opened.env.step(relative_action(command, self._opening))

    def is_clamped(self, command: Command) -> bool:
        """Whether a delta exceeds one of CALVIN's units: 0.02 m, 0.05 rad."""
        return CALVIN.exceeds_units(command.delta)

    def is_success(self) -> bool:
        """The verdict of CALVIN's own task oracle."""
        return bool(self._opened.oracle.get_task_info_for_set(self._info_at_start, self._info, {self._subtask}))

    def close(self) -> None:
        """Free Bullet's world."""
        silently(self._drop)
        self._info = self._info_at_start = None

    # ---- for tests and scripted policies ----

    def robot_state(self) -> Array:
        """CALVIN's `robot_obs`, [15]: effector position, Euler angles, finger gap, seven joints, gripper action."""
        return np.asarray(self._opened.env.get_state_obs()["robot_obs"], np.float64)

    def scene_state(self) -> Array:
        """CALVIN's `scene_obs`, [24]: slide, drawer, button, switch, bulb, LED; poses of red, blue and pink block."""
        return np.asarray(self._opened.env.get_state_obs()["scene_obs"], np.float64)

    # ---- calvin_env ----

    def _check(self, task: SimTask, initial_state: int) -> None:
        if task.name != self._task.name:
            raise SimulatorError(f"{self.suite}: task: expected one of 0 ({self._task.name}), got {task.name!r}")
        if not 0 <= initial_state < len(self._chains):
            raise SimulatorError(
                f"{self.suite}: {task.name}: initial_state: expected 0 to {len(self._chains) - 1}, got {initial_state}"
            )

    @property
    def _opened(self) -> CalvinWorld:
        if self._world is None:
            raise SimulatorError(f"{self.suite}: expected a reset before anything else, got none")
        return self._world

    def _drop(self) -> None:
        if self._world is not None:
            self._world.close()
        self._world = None


def opening_after(command: Command, opening: float) -> float:
    """The gripper's opening that this command leads to, fully open or closed; without one it stays as it was."""
    if command.gripper is None:
        return opening
    return GRIPPER_OPEN if command.gripper >= HALF_OPEN else GRIPPER_CLOSED


def relative_action(command: Command, opening: float) -> Array:
    """CALVIN's `rel_actions`, [7]: the delta in units of 0.02 m and 0.05 rad, clipped to one; the gripper, -1 or +1."""
    action = np.empty(ARM_DIM + 1)
    action[:ARM_DIM], action[ARM_DIM] = command.delta, opening
    return CALVIN.from_si(action)
