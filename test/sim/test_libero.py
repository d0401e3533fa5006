"""Real LIBERO: what is peculiar to it. What all simulators have in common is in test_libero_compliance.py."""

from collections.abc import Iterator

import numpy as np
import pytest

from vla_ros.errors import SimulatorError

pytest.importorskip("libero")
pytestmark = pytest.mark.sim

from vla_ros.sim.libero import LiberoSimulator  # noqa: E402


@pytest.fixture(scope="module")
def simulator() -> Iterator[LiberoSimulator]:
    simulator = LiberoSimulator("libero_object")
    yield simulator
    simulator.close()


def test_the_tasks_are_those_of_the_benchmark(simulator: LiberoSimulator) -> None:
    tasks = simulator.tasks()
    assert [task.index for task in tasks] == list(range(10))
    assert tasks[0].instruction == "pick up the alphabet soup and place it in the basket"
    assert {task.initial_states for task in tasks} == {50}
    assert simulator.max_steps == 280


def test_the_image_is_upright_and_not_mirrored(simulator: LiberoSimulator) -> None:
    """The grey wall is at the top, the brown floor at the bottom; the white basket, at +y, is to the right."""
    simulator.reset(simulator.task(0), 0, 0)
    image = simulator.render()
    simulator.camera.check(image, "libero")
    colourfulness = np.ptp(image.astype(int), axis=2).mean(axis=1)
    assert colourfulness[:8].mean() < 10 < colourfulness[-8:].mean()
    assert simulator.privileged().goal_position[1] > 0.2
    rows = image[40:90].astype(int)
    whiteness = rows.min(axis=2) > 150
    assert whiteness[:, 64:].sum() > 3 * whiteness[:, :32].sum()


def test_a_task_has_a_name_and_a_number(simulator: LiberoSimulator) -> None:
    first = simulator.tasks()[0]
    assert simulator.task(0) == simulator.task(first.name) == first
    line = r"libero_object: task: expected one of 0 \(pick_up_the_alphabet.*, got 'nope'"
    with pytest.raises(SimulatorError, match=line):
        simulator.task("nope")
