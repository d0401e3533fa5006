"""Samples: one frame and the chunk that follows it."""

import numpy as np
import pytest

from vla_ros.data.augmentation import AugmentationConfig, augment
from vla_ros.data.libero import Episode
from vla_ros.data.windows import Windows
from vla_ros.errors import DatasetError


def make_episode(steps: int, instruction: str, first: int) -> Episode:
    numbers = np.arange(first, first + steps)
    return Episode(
        instruction=instruction,
        images=np.repeat(numbers.astype(np.uint8), 4 * 4 * 3).reshape(steps, 4, 4, 3),
        actions=np.repeat(numbers.astype(np.float32), 7).reshape(steps, 7),
        phases=tuple("close" if step % 2 else "lift" for step in range(steps)),
        target_position=None,
        goal_position=None,
        effector_position=None,
    )


@pytest.fixture
def windows() -> Windows:
    return Windows([make_episode(3, "b", 10), make_episode(4, "a", 20)], chunk_size=3)


def test_a_chunk_starts_at_its_own_frame_and_stops_at_its_episodes_end(windows: Windows) -> None:
    samples = windows.take(np.array([0, 2, 5]))
    assert samples.images[:, 0, 0, 0].tolist() == [10, 12, 22]
    assert samples.actions[..., 0].tolist() == [[10, 11, 12], [12, 12, 12], [22, 23, 23]]
    assert samples.valid.tolist() == [[True, True, True], [True, False, False], [True, True, False]]


def test_each_frame_keeps_its_instruction(windows: Windows) -> None:
    samples = windows.take(np.array([0, 3]))
    assert [windows.instructions[i] for i in samples.instructions] == ["b", "a"]


def test_phases_are_drawn_by_weight(windows: Windows) -> None:
    weights = windows.sampling_weights({"close": 3.0})
    np.testing.assert_allclose(weights, np.array([1, 3, 1, 1, 3, 1, 3]) / 13)


def test_no_episode_is_an_error() -> None:
    with pytest.raises(DatasetError, match="expected at least one episode"):
        Windows([], chunk_size=3)


def test_augmentation_shifts_and_brightens_within_its_bounds() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    image[4, 4] = 100
    images = np.repeat(image[None], 200, axis=0)
    augmented = augment(images, AugmentationConfig(shift_px=2, brightness=0.2), np.random.default_rng(0))
    places = {tuple(np.argwhere(frame[..., 0])[0]) for frame in augmented}
    assert places == {(row, column) for row in range(2, 7) for column in range(2, 7)}
    peaks = augmented.max(axis=(1, 2, 3))
    assert 80 <= peaks.min() <= peaks.max() <= 120
    assert len(set(peaks.tolist())) > 10


def test_no_augmentation_changes_nothing_and_the_seed_decides_the_rest() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    off = AugmentationConfig(shift_px=0, brightness=0.0)
    on = AugmentationConfig(shift_px=2, brightness=0.3)
    np.testing.assert_array_equal(augment(images, off, np.random.default_rng(1)), images)
    first, second = (augment(images, on, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
