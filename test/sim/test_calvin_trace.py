"""What real CALVIN did, recorded (fixtures/make_calvin.py): the bridge's conversions hold without a checkout, too."""

from pathlib import Path

import numpy as np
import pytest

from test.sim.calvin_replay import Trace, command, load_trace, replayed_simulator
from test.sim.compliance.image_flow import mean_flow
from test.sim.fixtures.make_calvin import COMMANDS, IMAGE_STEPS, INSTRUCTION
from vla_ros.action import GRIPPER_CLOSED, GRIPPER_OPEN, Command
from vla_ros.data.calvin import CalvinSource
from vla_ros.data.conventions import CALVIN
from vla_ros.errors import SimulatorError
from vla_ros.sim.calvin import CalvinSimulator, opening_after, relative_action

X, Z, YAW = slice(0, 9), slice(9, 17), slice(17, 26)
"""Steps of the episode that move the arm and let it rest."""
GRIPPER = 35


@pytest.fixture(scope="module")
def trace() -> Trace:
    return load_trace()


@pytest.fixture
def simulator(trace: Trace) -> CalvinSimulator:
    simulator = replayed_simulator(trace)
    simulator.reset(simulator.tasks()[0], 0, 0)
    return simulator


def test_commands_become_the_actions_that_real_calvin_executed(simulator: CalvinSimulator, trace: Trace) -> None:
    (first, _) = simulator.subtasks(simulator.tasks()[0], 0)
    assert (first.name, first.instruction) == ("open_drawer", INSTRUCTION)
    simulator.begin(first)
    verdicts = [simulator.is_success()]
    for step in range(len(trace["action"])):
        simulator.step(command(trace, step))  # the stand-in compares
        verdicts.append(simulator.is_success())
    np.testing.assert_array_equal(verdicts, trace["is_success"])
    assert verdicts.count(True) == 1  # at the last step: the real oracle saw the drawer open


def test_a_subtask_is_judged_from_where_it_was_begun(simulator: CalvinSimulator, trace: Trace) -> None:
    first, second = simulator.subtasks(simulator.tasks()[0], 0)
    simulator.begin(first)
    for step in range(len(trace["action"])):
        simulator.step(command(trace, step))
    assert simulator.is_success()
    simulator.begin(second)
    assert not simulator.is_success()  # the drawer is open, and was when it was asked for


def test_real_calvin_moved_what_was_commanded(trace: Trace) -> None:
    robot, delta = trace["robot"], trace["delta"]
    for steps, axis in ((X, 0), (YAW, 5)):
        moved = robot[steps.stop, axis] - robot[steps.start, axis]
        assert moved == pytest.approx(delta[steps, axis].sum(), rel=0.02)
    lifted = robot[Z.stop, 2] - robot[Z.start, 2]
    assert delta[Z, 2].sum() == pytest.approx(0.1)
    assert lifted == pytest.approx(2 * CALVIN.m_per_unit, rel=0.02)  # two steps, clipped to a unit each


def test_what_is_beyond_a_unit_is_clipped_and_counts_as_clamped(simulator: CalvinSimulator, trace: Trace) -> None:
    beyond = [index for index, (delta, _) in enumerate(COMMANDS) if np.abs(delta[:3]).max() > CALVIN.m_per_unit]
    assert beyond == [Z.start, Z.start + 1]
    np.testing.assert_array_equal(trace["action"][beyond, 2], 1.0)
    clamped = [simulator.is_clamped(command(trace, step)) for step in range(len(COMMANDS))]
    assert np.flatnonzero(clamped).tolist() == beyond


def test_the_gripper_is_plus_one_open_or_minus_one_closed_and_moves_that_way(trace: Trace) -> None:
    told = trace["gripper"][GRIPPER : GRIPPER + 5]
    np.testing.assert_array_equal(told, [0.0, 0.4, 0.6, 1.0, 0.0])
    np.testing.assert_array_equal(trace["action"][GRIPPER : GRIPPER + 5, 6], [-1, -1, 1, 1, -1])
    gaps = trace["robot"][GRIPPER : GRIPPER + 6, 6]
    np.testing.assert_array_equal(np.sign(np.diff(gaps)), [-1, -1, 1, 1, -1])
    assert set(trace["action"][:, 6]) == {-1.0, 1.0}
    np.testing.assert_array_equal(trace["action"][:GRIPPER, 6], 1.0)  # open at the start, and kept without a command


@pytest.mark.parametrize(("told", "opening"), [(None, 1.0), (0.0, 0.0), (0.49, 0.0), (0.5, 1.0), (1.0, 1.0)])
def test_the_gripper_is_the_nearer_of_open_and_closed(told: float | None, opening: float) -> None:
    assert opening_after(Command.stop(told), GRIPPER_OPEN) == opening
    action = relative_action(Command.stop(told), opening)
    np.testing.assert_array_equal(action, [0, 0, 0, 0, 0, 0, 1 if opening else -1])


def test_a_stop_holds_and_never_opens() -> None:
    assert opening_after(Command.stop(), GRIPPER_CLOSED) == GRIPPER_CLOSED
    np.testing.assert_array_equal(relative_action(Command.stop(), GRIPPER_CLOSED), [0, 0, 0, 0, 0, 0, -1])


def test_the_image_is_upright_not_mirrored_and_drawn_only_when_asked_for(
    simulator: CalvinSimulator, trace: Trace
) -> None:
    images = [simulator.render()]
    for step in range(IMAGE_STEPS[-1]):
        simulator.step(command(trace, step))
        if step + 1 in IMAGE_STEPS:
            images.append(simulator.render())
    assert simulator._opened.camera.rendered == len(images) == 3
    for image, recorded in zip(images, trace["image"], strict=True):
        simulator.camera.check(image, "simulator")
        np.testing.assert_array_equal(image, recorded)
    along_x, upwards = mean_flow(*images[:2]), mean_flow(*images[1:])
    assert upwards[1] < -2  # what goes up goes up in the image
    assert along_x[0] > 2  # away from the robot's base, which stands on the left, is to the right


def test_trained_on_what_is_served(trace: Trace, tmp_path: Path) -> None:
    """The reader of CALVIN's data set turns these actions into SI, the bridge turns SI into the same actions again."""
    folder = tmp_path / "training"
    (folder / "lang_annotations").mkdir(parents=True)
    steps = len(trace["action"])
    for step in range(steps):
        np.savez(
            folder / f"episode_{step:07d}.npz", rel_actions=trace["action"][step], rgb_static=trace["image"][step % 3]
        )
    annotations = {"language": {"ann": [INSTRUCTION]}, "info": {"indx": [(0, steps)]}}
    np.save(folder / "lang_annotations/auto_lang_ann.npy", annotations, allow_pickle=True)  # type: ignore[arg-type]
    dataset = CalvinSource(path=tmp_path).open()
    episode = dataset.episode(0)
    assert episode.instruction == INSTRUCTION
    assert dataset.action == replayed_simulator(trace).action_space
    for row, action in zip(episode.actions, trace["action"], strict=True):
        trained = Command(delta=row[:6].astype(np.float64), gripper=float(row[6]))
        served = relative_action(trained, opening_after(trained, GRIPPER_OPEN))
        np.testing.assert_allclose(served, action, atol=1e-6)
        assert served[6] == action[6]
    np.testing.assert_array_equal(episode.frames(np.arange(3)), trace["image"])  # what `render` gives, see above


def test_wrong_chains_and_images_are_refused(simulator: CalvinSimulator, trace: Trace) -> None:
    with pytest.raises(SimulatorError, match=r"initial_state: expected 0 to 0, got 1"):
        simulator.subtasks(simulator.tasks()[0], 1)
    with pytest.raises(SimulatorError, match=r"camera: expected a square image, got 200 x 100 px"):
        CalvinSimulator("scene_d", 200, 100)
    with pytest.raises(SimulatorError, match=r"expected a reset before anything else"):
        replayed_simulator(trace).render()
