"""Real LIBERO: what is peculiar to it. What all simulators have in common is in test_libero_compliance.py."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vla_ros import config
from vla_ros.action import Command
from vla_ros.errors import SimulatorError
from vla_ros.sim.episode import SimConfig

pytest.importorskip("libero")
pytestmark = pytest.mark.sim

from vla_ros.sim.libero import LiberoSimulator  # noqa: E402
from vla_ros.sim.moved_target import MovedTargetLibero  # noqa: E402
from vla_ros.sim.perturbation import Jitter, place  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.parametrize("suite", ["libero_spatial", "libero_goal", "libero_10", "libero_90"])
def test_the_other_suites_run_and_their_files_name_all_of_their_episodes(suite: str) -> None:
    shipped = config.load(ROOT / f"config/sim/{suite}.yaml", SimConfig)
    simulator = LiberoSimulator(shipped.suite, shipped.camera_width_px, shipped.camera_height_px)
    try:
        assert shipped.tasks == tuple(task.index for task in simulator.tasks())
        assert {task.initial_states for task in simulator.tasks()} == {len(shipped.initial_states)}
        simulator.reset(simulator.task(shipped.tasks[-1]), shipped.initial_states[-1], shipped.seed)
        before = simulator.proprioception()["obs/ee_pos"][2]
        for _ in range(10):
            simulator.step(Command(delta=np.array([0.0, 0.0, 0.01, 0.0, 0.0, 0.0]), gripper=1.0))
        assert simulator.proprioception()["obs/ee_pos"][2] > before + 0.01
        assert np.ptp(simulator.render()) > 100
        assert not simulator.is_success()
    finally:
        simulator.close()


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


def test_a_moved_target_stands_elsewhere_and_nothing_else_does(simulator: LiberoSimulator) -> None:
    most_m = 0.05
    moved = MovedTargetLibero(simulator.suite, 128, 128, moved_m=most_m, tasks=(0,))
    try:
        offsets = []
        for state in range(3):
            simulator.reset(simulator.task(0), state, 0)
            moved.reset(moved.task(0), state, 0)
            target, _ = moved.goal()
            before, after = simulator.objects(), moved.objects()
            for name in before:
                offset = (after[name][0] - before[name][0])[:2]
                if name == target:
                    offsets.append(offset)
                else:
                    np.testing.assert_allclose(offset, 0.0, atol=1e-3)
        assert np.abs(offsets).max() < most_m + 0.002
        assert len({tuple(np.round(offset, 3)) for offset in offsets}) == 3
        again = moved.state()
        moved.reset(moved.task(0), 2, 0)
        np.testing.assert_array_equal(moved.state(), again)
        moved.reset(moved.task(0), 2, 1)
        assert not np.array_equal(moved.state(), again)
    finally:
        moved.close()


def test_shuffled_objects_stand_where_others_were_and_the_container_stays(simulator: LiberoSimulator) -> None:
    still = {"target_m": 0.0, "goal_m": 0.0, "distractor_m": 0.0, "clearance_m": 0.0, "joint_rad": 0.0}
    task = simulator.task(0)
    places = []
    for shuffle in (0.0, 1.0):
        random = np.random.default_rng(4)
        place(simulator, task, Jitter(**still, shuffle=shuffle), random)
        places.append({name: centre[:2] for name, (centre, _) in simulator.objects().items()})
    before, after = places
    container = simulator.goal_object()
    np.testing.assert_allclose(after.pop(container), before.pop(container), atol=2e-3)
    nearest = {name: min(before, key=lambda other: np.linalg.norm(before[other] - at)) for name, at in after.items()}
    assert sorted(nearest.values()) == sorted(before)
    assert any(name != other for name, other in nearest.items())
    for name, other in nearest.items():
        assert np.linalg.norm(before[other] - after[name]) < 0.01
