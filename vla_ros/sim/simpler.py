"""SimplerEnv's Bridge tasks (https://simpler-env.github.io) in ManiSkill 3: a WidowX, one camera, no proprioception.

Importing this module imports neither ManiSkill nor torch; opening a `SimplerSimulator` does.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.action import GRIPPER_OPEN, ActionSpace, Command
from vla_ros.data.conventions import BRIDGE
from vla_ros.errors import SimulatorError
from vla_ros.observation import CameraSpec
from vla_ros.rotation import turning_euler_from_fixed_euler
from vla_ros.sim.quiet import quietly
from vla_ros.sim.simpler_install import load_tasks, open_environment
from vla_ros.sim.simulator import SimTask, Subtask

CAMERA_NAME = "3rd_view_camera"
CAMERA_WIDTH_PX, CAMERA_HEIGHT_PX = 640, 480
CONTROL_RATE_HZ = BRIDGE.action.control_rate_hz
EPISODES = 24
"""Episode ids of each task that the benchmark counts; ManiSkill has 64 of the eggplant."""

SUITES = {
    "bridge": {
        "PutSpoonOnTableClothInScene-v1": "put the spoon on the towel",
        "PutCarrotOnPlateInScene-v1": "put carrot on plate",
        "StackGreenCubeOnYellowCubeBakedTexInScene-v1": "stack the green block on the yellow block",
        "PutEggplantInBasketScene-v1": "put eggplant into yellow basket",
    }
}
"""Tasks and what ManiSkill's environments say that the robot is told, which is checked when one is opened."""

GRIPPER_NATIVE_OPEN, GRIPPER_NATIVE_CLOSED = 1.0, -1.0
"""ManiSkill's normalised finger positions."""

Array = NDArray[np.float64]


class SimplerSimulator:
    """SimplerEnv's Bridge tasks behind the `Simulator` interface.

    Frame: the deltas are along the axes of the robot's base, and ManiSkill's controller adds each to its *target*, not
    to the measured pose: what is commanded in sum is what the arm moves, within a millimetre. A stop keeps the target.

    Rotation: roll, pitch and yaw about the base's fixed axes, as Bridge's states are written and as the benchmark's
    original turns them into a rotation (`euler2axangle`). ManiSkill 3 reads angles about axes that turn along: the same
    rotation is handed to it in those.

    A target that the arm cannot reach leaves the joints where they are, and stays the target: `is_clamped` tells.

    Success: the benchmark's own script runs every episode to its limit and counts the state there.

    Determinism: equal (task, initial state, seed) and equal commands give bit-identical states, whatever was done
    before and in any process: `reset` builds the scene anew. An initial state is an episode id of the benchmark and
    decides where everything stands; nothing in these tasks depends on the seed.

    Args:
        suite: `bridge`.
        width_px, height_px: of the camera's image. ManiSkill draws 640 x 480; Bridge's own 256 x 256 frames were made
            from that size too.

    Raises:
        SimulatorError: there is no such suite; ManiSkill, its assets or a Vulkan for the CPU are missing.
    """

    def __init__(
        self, suite: str = "bridge", width_px: int = CAMERA_WIDTH_PX, height_px: int = CAMERA_HEIGHT_PX
    ) -> None:
        if suite not in SUITES:
            raise SimulatorError(f"suite: expected one of {', '.join(SUITES)}, got {suite!r}")
        if width_px > CAMERA_WIDTH_PX or height_px > CAMERA_HEIGHT_PX:
            most = f"{CAMERA_WIDTH_PX} x {CAMERA_HEIGHT_PX}"
            raise SimulatorError(f"{suite}: camera: expected at most {most} px, got {width_px} x {height_px}")
        self.camera = CameraSpec(name=CAMERA_NAME, width=width_px, height=height_px)
        self.action_space: ActionSpace = BRIDGE.action
        self.ends_at_success = False
        self.suite = suite
        self._environments = load_tasks()
        self._tasks = tuple(
            SimTask(index=index, name=name, instruction=instruction, initial_states=EPISODES)
            for index, (name, instruction) in enumerate(SUITES[suite].items())
        )
        self._env: Any = None
        self._open_task = self._tasks[0]
        self._gripper = GRIPPER_OPEN
        self._is_success = False

    @property
    def max_steps(self) -> int:
        """The limit on steps per episode of the task that was last reset: 60, of the eggplant 120."""
        return int(self._environments[self._open_task.name].max_episode_steps)

    def tasks(self) -> tuple[SimTask, ...]:
        """All tasks of the suite, in the benchmark's order."""
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
        """Build the scene of one episode id; ManiSkill itself lets the objects settle in it."""
        known = self.task(task.name)
        if not 0 <= initial_state < known.initial_states:
            raise SimulatorError(
                f"{self.suite}: {task.name}: initial_state: expected 0 to {known.initial_states - 1}, "
                f"got {initial_state}"
            )
        self._open(known)
        # without a new scene, objects would settle beside an arm that stands where the last episode left it
        options = {"episode_id": initial_state, "reconfigure": True}
        _, info = quietly(self._env.reset, seed=seed, options=options)
        self._gripper = GRIPPER_OPEN
        self._is_success = bool(info["success"])

    def subtasks(self, task: SimTask, initial_state: int) -> tuple[Subtask, ...]:
        """The benchmark asks for one thing an episode."""
        return (Subtask(name=task.name, instruction=task.instruction),)

    def begin(self, subtask: Subtask) -> None:
        """Nothing to do: success is about the state since `reset`."""

    def render(self) -> NDArray[np.uint8]:
        """The camera's view now: uint8 [height, width, 3], RGB, upright."""
        image: NDArray[np.uint8] = self._env.look(CAMERA_NAME)
        size = (self.camera.width, self.camera.height)
        if size == (CAMERA_WIDTH_PX, CAMERA_HEIGHT_PX):
            return image
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

    def step(self, command: Command) -> None:
        """Execute one control period of 0.2 s."""
        if command.gripper is not None:
            self._gripper = command.gripper
        span = GRIPPER_NATIVE_OPEN - GRIPPER_NATIVE_CLOSED
        gripper = GRIPPER_NATIVE_CLOSED + span * self._gripper
        action = np.append(_native_delta(command.delta), gripper).astype(np.float32)
        *_, info = self._env.step(action)
        self._is_success = bool(info["success"])

    def is_clamped(self, command: Command) -> bool:
        """Whether the arm cannot reach where the command wants it: then the arm would not move at all."""
        from mani_skill.utils import common
        from mani_skill.utils.structs import Pose

        arm = self._arm
        target = Pose.create(arm.get_state()["target_pose"])
        delta = common.to_tensor(_native_delta(command.delta)[None].astype(np.float32))
        wanted = arm.compute_target_pose(target, delta)
        return arm.kinematics.compute_ik(pose=wanted, q0=arm.articulation.get_qpos()) is None

    def is_success(self) -> bool:
        """ManiSkill's own verdict on the present state."""
        return self._is_success

    def close(self) -> None:
        """Free ManiSkill's scene and its renderer."""
        if self._env is not None:
            self._env.close()
        self._env = None

    # ---- for tests and for recording ----

    def effector_position(self) -> Array:
        """Where the point between the fingers is, [3], base frame [m]."""
        return np.asarray(self._arm.ee_pose_at_base.p[0].numpy(), np.float64)

    def effector_quaternion_xyzw(self) -> Array:
        """Its orientation, [4], base frame."""
        w, x, y, z = self._arm.ee_pose_at_base.q[0].numpy()
        return np.array([x, y, z, w], np.float64)

    def gripper_opening(self) -> float:
        """How far the fingers are apart: 1 open, 0 closed."""
        gripper = self._env.agent.controller.controllers["gripper"]
        closed, opened = gripper.config.lower, gripper.config.upper
        return float((gripper.qpos[0].numpy().mean() - closed) / (opened - closed))

    def state(self) -> Array:
        """The flattened state of all bodies and joints."""
        return np.asarray(self._env.get_state()[0].numpy(), np.float64)

    # ---- ManiSkill ----

    @property
    def _arm(self) -> Any:
        return self._env.agent.controller.controllers["arm"]

    def _open(self, task: SimTask) -> None:
        if self._env is not None and self._open_task == task:
            return
        self.close()
        self._env, self._open_task = open_environment(self._environments, task.name), task
        (instruction,) = self._env.get_language_instruction()
        if instruction != task.instruction:
            self.close()
            raise SimulatorError(f"{task.name}: instruction: expected {task.instruction!r}, got {instruction!r}")


def _native_delta(delta: Array) -> Array:
    """Metres, and angles as ManiSkill reads them, of an end-effector delta [6]."""
    return np.concatenate([delta[:3], turning_euler_from_fixed_euler(delta[3:])])
