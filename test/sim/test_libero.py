"""Real LIBERO behind the `Simulator` interface: compliance, units, signs, images, determinism."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from vla_ros.action import GRIPPER_CLOSED, GRIPPER_OPEN, Command
from vla_ros.errors import SimulatorError

pytest.importorskip("libero")
pytestmark = pytest.mark.sim

from vla_ros.sim.libero import LiberoSimulator  # noqa: E402


@pytest.fixture(scope="module")
def simulator() -> Iterator[LiberoSimulator]:
    simulator = LiberoSimulator("libero_object")
    yield simulator
    simulator.close()


def command(index: int, value: float, gripper: float | None = None) -> Command:
    delta = np.zeros(6)
    delta[index] = value
    return Command(delta=delta, gripper=gripper)


def start(simulator: LiberoSimulator, initial_state: int = 0, seed: int = 0) -> None:
    simulator.reset(simulator.task(0), initial_state, seed)


def test_the_tasks_are_those_of_the_benchmark(simulator: LiberoSimulator) -> None:
    tasks = simulator.tasks()
    assert [task.index for task in tasks] == list(range(10))
    assert tasks[0].instruction == "pick up the alphabet soup and place it in the basket"
    assert {task.initial_states for task in tasks} == {50}
    assert simulator.max_steps == 280


def test_a_task_has_not_succeeded_at_its_start(simulator: LiberoSimulator) -> None:
    start(simulator)
    assert not simulator.is_success()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_translation_is_along_the_axes_of_the_base(simulator: LiberoSimulator, axis: int) -> None:
    """Steady speed of the critically damped controller: 20 mm commanded per step moves 4.9 mm per step (measured)."""
    start(simulator)
    for _ in range(4):
        simulator.step(command(axis, 0.02))
    before = simulator.privileged().effector_position
    for _ in range(6):
        simulator.step(command(axis, 0.02))
    moved = simulator.privileged().effector_position - before
    assert 0.02 < moved[axis] < 0.04
    assert np.abs(np.delete(moved, axis)).max() < 0.01


def test_rotation_is_a_rotation_vector_in_the_axes_of_the_base(simulator: LiberoSimulator) -> None:
    """Turned about +z, a hand that points down along x keeps pointing down: (cos a/2, sin a/2, 0, 0)."""
    start(simulator)
    for _ in range(10):
        simulator.step(command(5, 0.1))
    x, y, z, w = simulator.privileged().effector_quaternion_xyzw
    assert 0.1 < 2 * np.arctan2(y, x) < 1.0
    assert max(abs(z), abs(w)) < 0.1


def test_the_gripper_opens_on_open_closes_on_close_and_keeps_what_it_was_told(simulator: LiberoSimulator) -> None:
    start(simulator)
    for _ in range(10):
        simulator.step(Command.stop(GRIPPER_CLOSED))
    for _ in range(5):
        simulator.step(Command.stop(None))
    assert simulator.privileged().gripper_opening < 0.1
    for _ in range(12):
        simulator.step(Command.stop(GRIPPER_OPEN))
    assert simulator.privileged().gripper_opening > 0.9


def test_the_image_is_upright_and_not_mirrored(simulator: LiberoSimulator) -> None:
    """The grey wall is at the top, the brown floor at the bottom; the white basket, at +y, is to the right."""
    start(simulator)
    image = simulator.render()
    simulator.camera.check(image, "libero")
    colourfulness = np.ptp(image.astype(int), axis=2).mean(axis=1)
    assert colourfulness[:8].mean() < 10 < colourfulness[-8:].mean()
    assert simulator.privileged().goal_position[1] > 0.2
    rows = image[40:90].astype(int)
    whiteness = rows.min(axis=2) > 150
    assert whiteness[:, 64:].sum() > 3 * whiteness[:, :32].sum()


def test_rendering_does_not_change_the_physics(simulator: LiberoSimulator) -> None:
    states = []
    for is_rendered in (False, True):
        start(simulator)
        for _ in range(5):
            simulator.step(command(1, -0.03))
            if is_rendered:
                simulator.render()
        states.append(simulator.state())
    np.testing.assert_array_equal(states[0], states[1])


TRAJECTORY = """
import numpy as np
from vla_ros.action import Command
from vla_ros.sim.libero import LiberoSimulator
def trajectory(simulator):
    simulator.reset(simulator.task(0), 3, 1)
    random = np.random.default_rng(0)
    for i in range(30):
        simulator.step(Command(delta=random.uniform(-0.04, 0.04, 6), gripper=float(i < 15)))
    return simulator.state()
"""


def test_equal_commands_give_equal_states_in_any_process_and_after_any_history(simulator: LiberoSimulator) -> None:
    scope: dict[str, object] = {}
    exec(TRAJECTORY, scope)
    here = scope["trajectory"](simulator)  # type: ignore[operator]
    code = TRAJECTORY + "print(trajectory(LiberoSimulator()).tobytes().hex())"
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert there.stdout.strip() == here.tobytes().hex()
    assert there.stderr == ""
    np.testing.assert_array_equal(scope["trajectory"](simulator), here)  # type: ignore[operator]


def test_unknown_names_are_refused_with_the_known_ones(simulator: LiberoSimulator) -> None:
    with pytest.raises(
        SimulatorError, match=r"libero_object: task: expected one of 0 \(pick_up_the_alphabet.*, got 'nope'"
    ):
        simulator.task("nope")
    with pytest.raises(SimulatorError, match="initial_state: expected 0 to 49, got 50"):
        start(simulator, initial_state=50)
    with pytest.raises(SimulatorError, match=r"suite: expected one of libero_object, .*, got 'libero_moon'"):
        LiberoSimulator("libero_moon")
