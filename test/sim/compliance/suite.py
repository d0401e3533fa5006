"""The suite that every simulator passes. A test file of each inherits it, gives its `Subject` and its marker."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test.sim.compliance.image_flow import mean_flow
from test.sim.compliance.subject import Subject, command, motion, rest, start
from vla_ros.action import GRIPPER_CLOSED, GRIPPER_OPEN, Command
from vla_ros.errors import SimulatorError
from vla_ros.sim.simulator import SimTask

ROOT = Path(__file__).resolve().parents[3]
TOTAL_M, TOTAL_RAD = 0.1, 0.3
"""What the tests of units command in sum."""

ELSEWHERE = """
from {module} import {name}
from {subject_module} import SUBJECT
from test.sim.compliance.suite import trajectory
simulator = {name}()
print(trajectory(simulator, SUBJECT).tobytes().hex())
simulator.close()
"""


def trajectory(simulator: Any, subject: Subject) -> Any:
    """The state after an initial state, a seed and ten commands that are always the same."""
    start(simulator, initial_state=3, seed=1)
    random = np.random.default_rng(0)
    scale = np.repeat([subject.step_m, subject.step_rad], 3) / 2
    for step in range(10):
        simulator.step(Command(delta=scale * random.uniform(-1, 1, 6), gripper=float(step < 5)))
    return subject.measure(simulator).state


class SimulatorCompliance:
    """Inherit it as `class TestX(SimulatorCompliance)` with `subject`."""

    subject: Subject

    @pytest.fixture(scope="class")
    @classmethod
    def simulator(cls) -> Iterator[Any]:
        simulator = cls.subject.open()
        yield simulator
        simulator.close()

    # ---- tasks ----

    def test_tasks_are_numbered_named_and_instructed(self, simulator: Any) -> None:
        tasks = simulator.tasks()
        assert [task.index for task in tasks] == list(range(len(tasks)))
        assert len({task.name for task in tasks}) == len(tasks) > 0
        assert all(task.instruction.strip() == task.instruction != "" for task in tasks)
        assert min(task.initial_states for task in tasks) > 1

    def test_an_episode_asks_for_something(self, simulator: Any) -> None:
        for task in simulator.tasks():
            subtasks = simulator.subtasks(task, 0)
            assert subtasks
            assert all(subtask.name and subtask.instruction for subtask in subtasks)

    def test_an_unknown_task_or_initial_state_is_refused_with_the_known_ones(self, simulator: Any) -> None:
        task = simulator.tasks()[0]
        nowhere = SimTask(index=0, name="go to the moon", instruction="", initial_states=1)
        with pytest.raises(SimulatorError, match=rf"task: expected one of .*{task.name}.*, got 'go to the moon'"):
            simulator.reset(nowhere, 0, 0)
        for state in (-1, task.initial_states):
            line = f"initial_state: expected 0 to {task.initial_states - 1}, got {state}"
            with pytest.raises(SimulatorError, match=line):
                simulator.reset(task, state, 0)

    def test_an_unknown_suite_is_refused_with_the_known_ones(self, simulator: Any) -> None:
        with pytest.raises(SimulatorError, match=rf"suite: expected one of .*{simulator.suite}.*, got 'moon'"):
            self.subject.open("moon")

    def test_nothing_is_done_at_the_start(self, simulator: Any) -> None:
        start(simulator)
        for subtask in simulator.subtasks(simulator.tasks()[0], 0):
            simulator.begin(subtask)
            assert simulator.is_success() is False

    def test_an_episode_can_be_run_to_the_benchmarks_limit(self, simulator: Any) -> None:
        start(simulator)
        assert simulator.max_steps == self.subject.max_steps
        for _ in range(simulator.max_steps):
            simulator.step(Command.stop())
        assert simulator.max_steps == self.subject.max_steps
        assert simulator.is_success() is False

    # ---- actions ----

    def test_actions_mean_what_they_mean_in_the_data_set(self, simulator: Any) -> None:
        assert simulator.action_space == self.subject.action

    @pytest.mark.parametrize("axis", [0, 1, 2], ids="xyz")
    def test_ten_centimetres_commanded_are_ten_centimetres_moved(self, simulator: Any, axis: int) -> None:
        """As far as the controller follows; and along that axis of the frame alone."""
        start(simulator)
        steps = round(TOTAL_M / self.subject.step_m)
        moved = motion(simulator, self.subject, axis, self.subject.free[axis] * self.subject.step_m, steps)
        along = self.subject.free[axis] * moved[axis] / TOTAL_M
        assert self.subject.moved[0] < along < self.subject.moved[1]
        assert np.abs(np.delete(moved[:3], axis)).max() < 0.1 * along * TOTAL_M
        assert np.linalg.norm(moved[3:]) < 0.05

    @pytest.mark.parametrize("axis", [0, 1, 2], ids="xyz")
    def test_a_turn_is_about_the_axes_of_the_frame_and_in_radians(self, simulator: Any, axis: int) -> None:
        start(simulator)
        axes = np.eye(3)
        if self.subject.turn_axes is not None:
            axes = self.subject.turn_axes(self.subject.measure(simulator).quaternion_xyzw)
        steps = round(TOTAL_RAD / self.subject.step_rad)
        turn = motion(simulator, self.subject, 3 + axis, self.subject.step_rad, steps)[3:]
        along = turn @ axes[axis]
        assert self.subject.turned[0] < along / TOTAL_RAD < self.subject.turned[1]
        assert np.abs(turn - along * axes[axis]).max() < 0.1 * along

    def test_a_stop_keeps_the_arm_where_it_is(self, simulator: Any) -> None:
        start(simulator)
        for _ in range(3):
            simulator.step(command(2, self.subject.step_m))
        rest(simulator, self.subject)
        held = motion(simulator, self.subject, 0, 0.0, steps=20)
        assert np.linalg.norm(held[:3]) < 0.002
        assert np.linalg.norm(held[3:]) < 0.01

    def test_the_gripper_opens_on_open_closes_on_close_and_keeps_what_it_was_told(self, simulator: Any) -> None:
        start(simulator)
        openings = []
        for gripper in (GRIPPER_CLOSED, None, GRIPPER_OPEN, None):
            rest(simulator, self.subject, gripper)
            openings.append(self.subject.measure(simulator).opening)
        assert openings == pytest.approx([0.0, 0.0, 1.0, 1.0], abs=0.1)

    def test_a_reset_opens_the_gripper(self, simulator: Any) -> None:
        start(simulator)
        rest(simulator, self.subject, GRIPPER_CLOSED)
        start(simulator)
        rest(simulator, self.subject)
        assert self.subject.measure(simulator).opening == pytest.approx(1.0, abs=0.1)

    def test_what_exceeds_the_controller_counts_as_clamped(self, simulator: Any) -> None:
        start(simulator)
        before = self.subject.measure(simulator).state
        assert simulator.is_clamped(self.subject.clamped) is True
        assert simulator.is_clamped(command(2, self.subject.step_m)) is False
        assert simulator.is_clamped(Command.stop()) is False
        np.testing.assert_array_equal(self.subject.measure(simulator).state, before)  # it was only asked

    # ---- camera ----

    def test_the_image_is_as_the_camera_says(self, simulator: Any) -> None:
        start(simulator)
        image = simulator.render()
        simulator.camera.check(image, "simulator")
        assert image.flags.c_contiguous
        assert np.ptp(image) > 50

    def test_the_image_is_of_the_present_state(self, simulator: Any) -> None:
        start(simulator)
        first = simulator.render()
        np.testing.assert_array_equal(simulator.render(), first)
        motion(simulator, self.subject, 2, self.subject.step_m, steps=3)
        assert (simulator.render() != first).any()

    def test_the_image_is_upright_and_not_mirrored(self, simulator: Any) -> None:
        """What goes up goes up in the image, and right x down looks away from the camera."""
        flows = []
        for axis in range(3):
            start(simulator)
            before = simulator.render()
            moved = motion(simulator, self.subject, axis, self.subject.free[axis] * self.subject.step_m, steps=2)
            flows.append(mean_flow(before, simulator.render()) / moved[axis])
        right, down = np.transpose(flows)  # each [3]: px to the right, and down, for a metre along each axis
        assert down[2] < 0
        measured = self.subject.measure(simulator)
        assert np.cross(right, down) @ (measured.position - measured.camera_position) > 0

    def test_rendering_does_not_change_the_physics(self, simulator: Any) -> None:
        states = []
        for is_rendered in (False, True):
            start(simulator)
            for _ in range(4):
                simulator.step(command(2, self.subject.step_m / 2))
                if is_rendered:
                    simulator.render()
            states.append(self.subject.measure(simulator).state)
        np.testing.assert_array_equal(states[0], states[1])

    # ---- determinism ----

    def test_initial_states_differ(self, simulator: Any) -> None:
        states = []
        for initial_state in (0, 1):
            start(simulator, initial_state)
            states.append(self.subject.measure(simulator).state)
        assert not np.array_equal(states[0], states[1])

    def test_equal_commands_give_equal_states_and_images_after_any_history(self, simulator: Any) -> None:
        outcomes = []
        for _ in range(2):
            state = trajectory(simulator, self.subject)
            outcomes.append((state, simulator.render()))
            rest(simulator, self.subject, GRIPPER_CLOSED)
            start(simulator, task=len(simulator.tasks()) - 1)  # another task in between
            simulator.step(command(2, -self.subject.step_m))
        np.testing.assert_array_equal(outcomes[0][0], outcomes[1][0])
        np.testing.assert_array_equal(outcomes[0][1], outcomes[1][1])

    def test_equal_commands_give_equal_states_in_another_process(self, simulator: Any) -> None:
        name = self.subject.open.__qualname__
        code = ELSEWHERE.format(
            module=self.subject.open.__module__, name=name, subject_module=self.subject.measure.__module__
        )
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL, cwd=ROOT
        )
        assert other.stdout.strip() == trajectory(simulator, self.subject).tobytes().hex()
        assert other.stderr == ""

    def test_a_closed_simulator_can_be_reset_again(self, simulator: Any) -> None:
        start(simulator)
        before = self.subject.measure(simulator).state
        simulator.close()
        simulator.close()
        start(simulator)
        np.testing.assert_array_equal(self.subject.measure(simulator).state, before)
