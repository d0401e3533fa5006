"""A simulator without physics: the camera shows where the arm is, so that every action depends on the ones before."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ARM_DIM, ActionSpace, Command
from vla_ros.observation import CameraSpec
from vla_ros.sim import bridge_node
from vla_ros.sim.episode import SimConfig
from vla_ros.sim.simulator import SimTask, Subtask

GOAL_M = 0.1
PARTS = 3
INSTRUCTIONS = ("go to the right", "go to the left", "")


class FakeSimulator:
    """Each of an episode's parts is done once the arm has gone 0.1 m; `initial_state` sets the image's brightness."""

    def __init__(self, size_px: int = 32, frame_id: str = "base", max_steps: int = 40, parts: int = 1) -> None:
        self.camera = CameraSpec(name="fake", width=size_px, height=size_px)
        self.action_space = ActionSpace(frame_id=frame_id, rotation="axis_angle", control_rate_hz=20.0)
        self.ends_at_success = True
        self.max_steps = max_steps
        self.pose = np.zeros(ARM_DIM)
        self.commands: list[Command] = []
        self.goal_m = GOAL_M
        self.parts = parts
        self._begun_at = self.pose
        self._brightness = 0

    def tasks(self) -> tuple[SimTask, ...]:
        return tuple(
            SimTask(index=index, name=f"task_{index}", instruction=text, initial_states=50)
            for index, text in enumerate(INSTRUCTIONS)
        )

    def reset(self, task: SimTask, initial_state: int, seed: int) -> None:
        self.pose = self._begun_at = np.zeros(ARM_DIM)
        self._brightness = 1 + initial_state

    def subtasks(self, task: SimTask, initial_state: int) -> tuple[Subtask, ...]:
        return tuple(
            Subtask(name=f"part_{part}", instruction=task.instruction + part * " and on") for part in range(self.parts)
        )

    def begin(self, subtask: Subtask) -> None:
        self._begun_at = self.pose

    def render(self) -> NDArray[np.uint8]:
        image = np.full((self.camera.height, self.camera.width, 3), self._brightness, np.uint8)
        image[0, :ARM_DIM, 0] = np.round(np.abs(self.pose) * 1000).astype(np.int64) % 256
        return image

    def step(self, command: Command) -> None:
        self.commands.append(command)
        self.pose = self.pose + command.delta

    def is_clamped(self, command: Command) -> bool:
        return False

    def is_success(self) -> bool:
        return bool(np.linalg.norm((self.pose - self._begun_at)[:3]) >= self.goal_m)

    def close(self) -> None:
        motion = sum(not command.is_stop for command in self.commands)
        print(f"fake simulator: {motion} motions", flush=True)


class FailingSimulator(FakeSimulator):
    """Raises in the fifth step from an odd initial state."""

    def step(self, command: Command) -> None:
        super().step(command)
        if self._brightness % 2 == 0 and len(self.commands) >= 5:
            raise RuntimeError("GL: out of memory")


class BrokenSimulator(FakeSimulator):
    """Of a machine that lacks something."""

    def render(self) -> NDArray[np.uint8]:
        raise AttributeError("no OpenGL")


class NoVideo:
    """Takes frames and keeps none."""

    def __init__(self, path: Path, fps: float) -> None:
        pass

    def add(self, frame: NDArray[np.uint8], lines: list[str]) -> None:
        pass

    def close(self) -> None:
        pass


def make_simulator(sim: SimConfig) -> FakeSimulator:
    """The suite's name carries the frame id, for the tests of mismatches; `endless_` episodes only end from outside,
    `chain_` ones have three parts, of `failing_` ones the odd initial states break the simulator, `broken_` ones never
    work."""
    kind, frame_id = sim.suite.split("_")
    cls = {"failing": FailingSimulator, "broken": BrokenSimulator}.get(kind, FakeSimulator)
    simulator = cls(sim.camera_size_px, frame_id=frame_id, parts=PARTS if kind == "chain" else 1)
    if kind == "endless":
        simulator.goal_m, simulator.max_steps = np.inf, 10**9
    return simulator


if __name__ == "__main__":
    sys.exit(bridge_node.main(make_simulator=make_simulator, make_video=NoVideo))
