"""LIBERO (https://libero-project.github.io): the real benchmark in MuJoCo, one camera, no proprioception.

Importing this module imports neither LIBERO nor MuJoCo; opening a `LiberoSimulator` does.
"""

import contextlib
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import GRIPPER_OPEN, ActionSpace, Command
from vla_ros.data.libero_units import CONTROL_RATE_HZ, exceeds_units, libero_from_si
from vla_ros.errors import SimulatorError
from vla_ros.observation import CameraSpec
from vla_ros.sim.libero_install import load_benchmark
from vla_ros.sim.privileged import PrivilegedState, bounding_box, read_privileged, read_proprioception
from vla_ros.sim.quiet import quietly
from vla_ros.sim.simulator import SimTask, Subtask

CAMERA_NAME = "agentview"
FRAME_ID = "base"
SETTLING_STEPS = 10
MAX_STEPS = {
    "libero_object": 280,
    "libero_spatial": 220,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""The usual limit on steps per episode of each suite; a suite named `<one of these>_<variant>` has the same."""

Array = NDArray[np.float64]


class LiberoSimulator:
    """LIBERO's tasks behind the `Simulator` interface.

    Frame: robosuite's OSC_POSE adds each delta to the *measured* effector pose, along the axes of the world; in LIBERO
    the robot's base is parallel to the world, so these are the axes of `base`. A constant command of d metres moves
    about 0.3 d per step (the controller is a critically damped spring, 0.3 m/s at one unit).

    The image is the agent view with its rows flipped to stand upright. It is not mirrored: the robot's +y is to the
    right, as a real camera there would see it.

    It is of the present state; LIBERO's own `agentview_image` was taken up to 0.05 s earlier and differs at the edges
    of what moves.

    Determinism: equal (task, initial state, seed) and equal commands give bit-identical states, whatever was done
    before and in any process. The seed decides where fixtures stand, which recorded initial states do not hold.

    Args:
        suite: a suite's name, e.g. `libero_object`.
        width_px: image columns.
        height_px: image rows.

    Raises:
        SimulatorError: LIBERO is not installed, or has no such suite.
    """

    def __init__(self, suite: str = "libero_object", width_px: int = 128, height_px: int = 128) -> None:
        self.camera = CameraSpec(name=CAMERA_NAME, width=width_px, height=height_px)
        self.action_space = ActionSpace(frame_id=FRAME_ID, rotation="axis_angle", control_rate_hz=CONTROL_RATE_HZ)
        self.ends_at_success = True
        self.suite = suite
        self.max_steps = _max_steps(suite)
        self._benchmark = load_benchmark(suite)
        self._env: Any = None
        self._env_task: int | None = None
        self._gripper = GRIPPER_OPEN
        self._goals: dict[int, list[tuple[str, str]]] = {}
        self._tasks = tuple(
            SimTask(
                index=index,
                name=task.name,
                instruction=task.language,
                initial_states=len(quietly(self._benchmark.get_task_init_states, index)),
            )
            for index, task in enumerate(self._benchmark.tasks)
        )

    def tasks(self) -> tuple[SimTask, ...]:
        """All tasks of the suite, in the suite's order."""
        return self._tasks

    def task(self, name_or_index: str | int) -> SimTask:
        """One task by its name or its number.

        Raises:
            SimulatorError: the suite has no such task.
        """
        for task in self._tasks:
            if name_or_index in (task.name, task.index):
                return task
        known = ", ".join(f"{task.index} ({task.name})" for task in self._tasks)
        raise SimulatorError(f"{self.suite}: task: expected one of {known}, got {name_or_index!r}")

    def reset(self, task: SimTask, initial_state: int, seed: int) -> None:
        """Restore one of the benchmark's recorded initial states and let it settle."""
        self.restore(task, initial_state, seed)
        self.settle()

    def restore(self, task: SimTask, initial_state: int, seed: int) -> None:
        """Put everything where a recorded initial state has it; `settle` must follow.

        Raises:
            SimulatorError: there is no such initial state.
        """
        known = self.task(task.name)
        if not 0 <= initial_state < known.initial_states:
            raise SimulatorError(
                f"{self.suite}: {task.name}: initial_state: expected 0 to {known.initial_states - 1}, "
                f"got {initial_state}"
            )
        self.sample(task, seed)
        self._env.sim.set_state_from_flattened(
            quietly(self._benchmark.get_task_init_states, known.index)[initial_state]
        )

    def sample(self, task: SimTask, seed: int) -> None:
        """Place everything as LIBERO's own random reset would, never as a recorded state; `settle` must follow."""
        self._open(self.task(task.name).index)
        self._reset_env(seed)

    def settle(self) -> None:
        """Let objects fall into place while the arm holds and the gripper opens."""
        env = self._env
        env.sim.forward()
        env._post_process()
        # robosuite counts steps and refuses to go on after its horizon; a restored state starts anew
        env.timestep, env.done = 0, False
        for _ in range(SETTLING_STEPS):
            self.step(Command.stop(GRIPPER_OPEN))

    def subtasks(self, task: SimTask, initial_state: int) -> tuple[Subtask, ...]:
        """LIBERO asks for one thing an episode."""
        return (Subtask(name=task.name, instruction=task.instruction),)

    def begin(self, subtask: Subtask) -> None:
        """Nothing to do: LIBERO's goals are about the present state alone."""

    def render(self) -> NDArray[np.uint8]:
        """The agent view now: uint8 [height, width, 3], RGB, upright."""
        context = self._env.sim._render_context_offscreen
        context.gl_ctx.make_current()  # another simulator in this process may have drawn last
        image = self._env.sim.render(camera_name=CAMERA_NAME, width=self.camera.width, height=self.camera.height)
        return np.ascontiguousarray(image[::-1])

    def step(self, command: Command) -> None:
        """Execute one control period of 0.05 s."""
        if command.gripper is not None:
            self._gripper = command.gripper
        self._env.step(libero_from_si(np.append(command.delta, self._gripper)))

    def is_clamped(self, command: Command) -> bool:
        """Whether a delta exceeds one of LIBERO's units: 0.05 m, 0.5 rad."""
        return exceeds_units(command.delta)

    def is_success(self) -> bool:
        """LIBERO's own goal predicate (not robosuite's `done`, which also fires at its horizon)."""
        return bool(self._env._check_success())

    def close(self) -> None:
        """Free MuJoCo and its OpenGL context."""
        if self._env is not None:
            self._env.close()
        self._env, self._env_task = None, None

    # ---- for the expert and for recording ----

    def privileged(self) -> PrivilegedState:
        """Ground truth of the present state, with respect to the task's first `In` or `On` goal."""
        return read_privileged(self._env, *self.goal())

    def goal(self) -> tuple[str, str]:
        """Names of the object to be moved and of the region (or object) that it goes into or onto."""
        task = self._tasks[self._env_task or 0]
        goals = self.goals(task)
        if not goals:
            raise SimulatorError(f"{self.suite}: {task.name}: goal: expected an In or On predicate, got none")
        return goals[0]

    def goals(self, task: SimTask) -> list[tuple[str, str]]:
        """All that a task's definition asks to be put in or on something: the object, and the region or object."""
        if task.index not in self._goals:
            from libero.libero.envs.bddl_utils import robosuite_parse_problem

            state = quietly(robosuite_parse_problem, str(self.bddl_file(task)))["goal_state"]
            self._goals[task.index] = [(goal[1], goal[2]) for goal in state if goal[0].lower() in ("in", "on")]
        return self._goals[task.index]

    def others(self) -> dict[str, str]:
        """What else could be asked for in the open scene: objects' names by the instructions of other tasks.

        Left out are objects that several tasks move to the same place: their instructions are about more than the name.
        """
        own, region = self.goal()
        by_object: dict[str, list[str]] = {}
        for task in self._tasks:
            if [place for _, place in self.goals(task)] == [region]:
                by_object.setdefault(self.goals(task)[0][0], []).append(task.instruction)
        return {
            instructions[0]: name
            for name, instructions in by_object.items()
            if name != own and name in self._env.objects_dict and len(instructions) == 1
        }

    def positions(self, names: Iterable[str]) -> Array:
        """Origins of objects, [names, 3], world frame [m]."""
        return np.array([self._env.sim.data.body_xpos[self._env.obj_body_id[name]] for name in names]).reshape(-1, 3)

    def goal_object(self) -> str:
        """Name of the object that holds the goal region, e.g. the basket."""
        region = self.goal()[1]
        site = self._env.object_sites_dict.get(region)
        return region if site is None else str(site.parent_name)

    def objects(self) -> dict[str, tuple[Array, Array]]:
        """Bounding boxes of all movable objects by name: centre [3] and half extents [3], world frame [m]."""
        self._env.sim.forward()
        return {name: bounding_box(self._env, name) for name in self._env.objects_dict}

    def shift(self, name: str, offset_xy: Array) -> None:
        """Move one object horizontally [m]; only before `settle`."""
        joint = self._env.objects_dict[name].joints[-1]
        pose = np.array(self._env.sim.data.get_joint_qpos(joint))
        pose[:2] += offset_xy
        self._env.sim.data.set_joint_qpos(joint, pose)

    def shift_joints(self, offset_rad: Array) -> None:
        """Turn the arm's joints, [7] rad; only before `settle`."""
        self._env.sim.data.qpos[self._env.robots[0]._ref_joint_pos_indexes] += offset_rad

    def state(self) -> Array:
        """The flattened MuJoCo state: time, qpos, qvel."""
        return np.array(self._env.sim.get_state().flatten())

    def proprioception(self) -> dict[str, Array]:
        """What LIBERO records of the robot, under LIBERO's names."""
        return read_proprioception(self._env)

    def bddl_file(self, task: SimTask) -> Path:
        """Where LIBERO keeps the task's definition."""
        return Path(quietly(self._benchmark.get_task_bddl_file_path, task.index))

    def problem_info(self) -> dict[str, str]:
        """LIBERO's names for the open task's scene and domain."""
        problem = self._env.parsed_problem
        return {"problem_name": str(problem["problem_name"]), "domain_name": "robosuite"}

    # ---- robosuite ----

    def _open(self, index: int) -> None:
        if self._env_task == index:
            return
        self.close()
        wrapper = quietly(
            quietly(importlib.import_module, "libero.libero.envs").OffScreenRenderEnv,
            bddl_file_name=str(self.bddl_file(self._tasks[index])),
            use_camera_obs=False,
            ignore_done=True,
            # a hard reset rebuilds the whole model (2-5 s) to arrive at the same state
            hard_reset=False,
        )
        # LIBERO's wrapper catches every exception in reset(), Ctrl-C too, and tries for ever
        self._env, self._env_task = wrapper.env, index
        for observable in self._env._observables.values():
            observable.set_enabled(False)
            observable.set_active(False)

    def _reset_env(self, seed: int) -> None:
        from robosuite.utils.errors import RandomizationError

        self._env.seed(seed)
        self._gripper = GRIPPER_OPEN
        for _ in range(100):
            with contextlib.suppress(RandomizationError):
                self._env.reset()
                # robosuite ramps the fingers from here, and forgets to reset it
                self._env.robots[0].gripper.current_action = np.zeros_like(self._env.robots[0].gripper.current_action)
                return
        raise SimulatorError(f"{self.suite}: seed {seed}: expected a collision-free placement, got none in 100 tries")


def _max_steps(suite: str) -> int:
    matches = [name for name in MAX_STEPS if suite == name or suite.startswith(f"{name}_")]
    if not matches:
        raise SimulatorError(f"suite: expected one of {', '.join(MAX_STEPS)} or a variant of one, got {suite!r}")
    return MAX_STEPS[matches[0]]
