"""SimplerEnv's Bridge tasks in ManiSkill: what is peculiar to them. What all simulators have in common is elsewhere."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from test.sim.simpler_assets import NEEDS_SIMPLER
from test.sim.stacking_script import rows
from vla_ros.action import ARM_DIM, GRIPPER_OPEN, Command
from vla_ros.errors import SimulatorError
from vla_ros.sim.simpler import SimplerSimulator

pytestmark = NEEDS_SIMPLER

SPOON, CARROT, STACK, EGGPLANT = range(4)


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimplerSimulator]:
    simulator = SimplerSimulator()
    yield simulator
    simulator.close()


def start(simulator: SimplerSimulator, task: int = CARROT, initial_state: int = 0) -> None:
    simulator.reset(simulator.task(task), initial_state, seed=0)


def test_the_tasks_are_those_of_the_benchmark(simulator: SimplerSimulator) -> None:
    """VLM4VLA's protocol: 24 episodes of each, 60 steps, of the eggplant 120. Opening one checks its instruction."""
    limits = []
    for task in simulator.tasks():
        start(simulator, task.index)
        limits.append(simulator.max_steps)
    assert limits == [60, 60, 60, 120]
    assert {task.initial_states for task in simulator.tasks()} == {24}


def test_angles_are_roll_pitch_and_yaw_about_fixed_axes(simulator: SimplerSimulator) -> None:
    """As the benchmark's original reads them: transforms3d's euler2axangle, Rz(yaw) Ry(pitch) Rx(roll)."""
    start(simulator)
    before = Rotation.from_quat(simulator.effector_quaternion_xyzw())
    angles = np.array([0.3, -0.2, 0.4])
    simulator.step(Command(delta=np.append([0.0, 0.0, 0.02], angles), gripper=None))
    for _ in range(6):
        simulator.step(Command.stop())
    turn = Rotation.from_quat(simulator.effector_quaternion_xyzw()) * before.inv()
    x, y, z = (Rotation.from_rotvec(angle * axis) for angle, axis in zip(angles, np.eye(3), strict=True))
    assert (turn * (z * y * x).inv()).magnitude() < 0.02
    assert (turn * (x * y * z).inv()).magnitude() > 0.1  # ManiSkill's own reading


def test_what_is_out_of_reach_moves_nothing(simulator: SimplerSimulator) -> None:
    start(simulator)
    before = simulator.effector_position()
    far = Command(delta=np.array([1.0, 0, 0, 0, 0, 0]), gripper=None)
    assert simulator.is_clamped(far)
    simulator.step(far)
    np.testing.assert_allclose(simulator.effector_position(), before, atol=1e-3)


def test_success_is_the_object_on_its_target(simulator: SimplerSimulator) -> None:
    """The green cube, put a hair above the yellow one: it comes to lie on it."""
    from mani_skill.utils.structs import Pose

    start(simulator, STACK)
    simulator.step(Command.stop())
    assert not simulator.is_success()
    green, yellow = simulator._env.objs.values()
    position = yellow.pose.p.clone()
    position[:, 2] += 0.031
    green.set_pose(Pose.create_from_pq(position, yellow.pose.q))
    for _ in range(3):
        simulator.step(Command.stop())
    assert simulator.is_success()
    start(simulator, STACK)
    assert not simulator.is_success()


def test_a_script_stacks_the_cubes(simulator: SimplerSimulator) -> None:
    start(simulator, STACK)
    verdicts = []
    for row in rows():
        simulator.step(Command(delta=row[:ARM_DIM].astype(np.float64), gripper=float(row[ARM_DIM])))
        verdicts.append(simulator.is_success())
    assert verdicts[-1]
    assert verdicts.index(True) == [row[ARM_DIM] for row in rows()].index(GRIPPER_OPEN, 20)  # once it lets go


def test_only_what_is_looked_at_is_drawn(simulator: SimplerSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    start(simulator)
    drawn = []
    capture = simulator._env.capture_sensor_data
    monkeypatch.setattr(simulator._env, "capture_sensor_data", lambda: (drawn.append(1), capture()))
    for _ in range(3):
        simulator.step(Command.stop())
        assert not drawn
    simulator.render()
    assert len(drawn) == 1


def test_two_simulators_in_one_process_keep_their_own_photographs(simulator: SimplerSimulator) -> None:
    """ManiSkill shares them, and the list of what stands before them, among all environments of a process."""
    start(simulator, CARROT)
    alone = simulator.render()
    other = SimplerSimulator()
    start(other, EGGPLANT)
    sink = other.render()
    np.testing.assert_array_equal(simulator.render(), alone)
    other.close()
    # the basket's floor stands for the target and is hidden behind the photograph: left of it nothing is plain grey
    left = sink[150:270, 50:240].astype(int)
    assert (np.ptp(left, axis=2) < 3).mean() < 0.05


def test_a_smaller_image_is_the_average_of_the_large_one(simulator: SimplerSimulator) -> None:
    small = SimplerSimulator("bridge", 160, 120)
    start(small)
    start(simulator)
    image = small.render()
    small.camera.check(image, "simpler")
    large = simulator.render().reshape(120, 4, 160, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(image, large, atol=0.51)
    small.close()
    with pytest.raises(SimulatorError, match="camera: expected at most 640 x 480 px, got 641 x 480"):
        SimplerSimulator("bridge", 641, 480)


def test_missing_assets_are_named_with_the_command_that_brings_them(
    simulator: SimplerSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MS_ASSET_DIR", "/nowhere")
    line = "expected ManiSkill's assets bridge_v2_real2sim, widowx250s, got none; `make setup-simpler` downloads them"
    with pytest.raises(SimulatorError, match=line):
        SimplerSimulator()
