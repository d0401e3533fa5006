"""The scripted expert in real LIBERO."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("libero")
pytestmark = pytest.mark.sim

from vla_ros.errors import BundleError, SimulatorError  # noqa: E402
from vla_ros.sim import expert  # noqa: E402
from vla_ros.sim.demos import DemosConfig, collect, record_episode  # noqa: E402
from vla_ros.sim.libero import LiberoSimulator  # noqa: E402
from vla_ros.sim.takeover import Takeover  # noqa: E402


@pytest.fixture(scope="module")
def simulator() -> Iterator[LiberoSimulator]:
    simulator = LiberoSimulator("libero_object", 16, 16)
    yield simulator
    simulator.close()


def solve(simulator: LiberoSimulator) -> list[str]:
    phases = []
    while not simulator.is_success() and len(phases) < simulator.max_steps:
        action = expert.act(simulator.privileged())
        phases.append(action.phase)
        simulator.step(action.command)
    return phases


@pytest.mark.parametrize("initial_state", [0, 25])
def test_it_solves_the_benchmarks_initial_states_without_dwelling(
    simulator: LiberoSimulator, initial_state: int
) -> None:
    simulator.reset(simulator.task(0), initial_state, seed=0)
    phases = solve(simulator)
    assert simulator.is_success()
    assert len(phases) < 120
    assert phases.count("close") <= 6


def test_it_picks_up_again_what_it_has_lost(simulator: LiberoSimulator) -> None:
    simulator.reset(simulator.task(0), 0, seed=0)
    while (action := expert.act(simulator.privileged())).phase != "carry":
        simulator.step(action.command)
    for _ in range(8):
        simulator.step(type(action.command).stop(gripper=1.0))
    assert not simulator.privileged().is_grasped
    solve(simulator)
    assert simulator.is_success()


def test_a_recorded_episode_has_clean_labels_beside_the_noisy_actions(
    simulator: LiberoSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator, "render", lambda: np.zeros((16, 16, 3), np.uint8))  # images are not the point here
    config = DemosConfig(output=Path("unused"), seed=7)
    recording = record_episode(config, simulator, simulator.task(0), attempt=0)
    assert recording is not None
    executed, labels = recording.datasets["actions"], recording.datasets["expert_actions"]
    assert max(np.abs(executed).max(), np.abs(labels).max()) <= 1.0
    assert 0.03 < np.abs(executed - labels)[:, :3].mean() < 0.3
    np.testing.assert_array_equal(executed[:, 6], labels[:, 6])
    assert set(np.unique(labels[:, 6])) == {-1.0, 1.0}
    assert np.ptp(recording.datasets["obs/target_position"], axis=0).max() > 0.3


def test_actions_are_recorded_at_every_step_and_images_at_every_third(
    simulator: LiberoSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(simulator, "render", lambda: drawn.append(1) or np.full((16, 16, 3), 255, np.uint8))
    config = DemosConfig(output=Path("unused"), image_every_steps=3)
    recording = record_episode(config, simulator, simulator.task(0), attempt=0)
    assert recording is not None
    has_image, images = recording.datasets["has_image"], recording.datasets["obs/agentview_rgb"]
    assert len(has_image) == len(recording.datasets["actions"])
    np.testing.assert_array_equal(np.flatnonzero(has_image), np.arange(0, len(has_image), 3))
    np.testing.assert_array_equal(images[:, 0, 0, 0] == 255, has_image == 1)
    assert len(drawn) == has_image.sum()


def test_only_the_first_steps_are_recorded_and_kept_without_success(
    simulator: LiberoSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator, "render", lambda: np.zeros((16, 16, 3), np.uint8))
    config = DemosConfig(output=Path("unused"), first_steps=6)
    recording = record_episode(config, simulator, simulator.task(0), attempt=0)
    assert recording is not None
    assert (len(recording.datasets["actions"]), recording.datasets["rewards"].sum()) == (6, 0)
    whole = record_episode(DemosConfig(output=Path("unused")), simulator, simulator.task(0), attempt=0)
    assert whole is not None
    np.testing.assert_array_equal(whole.datasets["states"][:6], recording.datasets["states"])


def test_what_else_could_be_asked_for_is_recorded_with_where_it_is(
    simulator: LiberoSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator, "render", lambda: np.zeros((16, 16, 3), np.uint8))
    recording = record_episode(
        DemosConfig(output=Path("unused"), first_steps=6), simulator, simulator.task(0), attempt=0
    )
    assert recording is not None
    others = simulator.others()
    assert recording.other_instructions == tuple(others)
    assert sorted(others.values()) == ["butter_1", "cream_cheese_1", "milk_1", "salad_dressing_1", "tomato_sauce_1"]
    for instruction, name in others.items():
        assert name.removesuffix("_1").replace("_", " ") in instruction
    positions, boxes = recording.datasets["obs/other_positions"], simulator.objects()
    assert positions.shape == (6, 5, 3)
    for number, name in enumerate(others.values()):
        np.testing.assert_allclose(positions[-1, number, :2], boxes[name][0][:2], atol=0.03)


def test_objects_that_several_instructions_move_are_not_asked_for_by_one_of_them() -> None:
    spatial = LiberoSimulator("libero_spatial", 16, 16)
    spatial.sample(spatial.task(0), seed=0)
    assert spatial.others() == {}
    spatial.close()


def test_what_a_worker_cannot_open_is_said_by_the_command(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match=r"suite: expected one of libero_object, .*, got 'libero_objekt'"):
        collect(DemosConfig(output=tmp_path, suite="libero_objekt"))
    with pytest.raises(BundleError, match="nowhere: expected a policy bundle's folder, got nothing there"):
        collect(DemosConfig(output=tmp_path, takeover=Takeover(bundle=tmp_path / "nowhere")))
