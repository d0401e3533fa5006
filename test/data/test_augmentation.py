"""Augmentation, pixel by pixel against formulas in NumPy."""

import colorsys
from collections.abc import Callable

import numpy as np
import pytest

from vla_ros import config
from vla_ros.data.augmentation import AugmentationConfig, augment
from vla_ros.errors import ConfigError

RLDS = AugmentationConfig(crop=0.9, brightness_delta=0.2, contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=0.05)


@pytest.fixture
def images() -> np.ndarray:
    """Smooth colour gradients, like camera frames: uint8 [6, 32, 40, 3]."""
    rows, columns = np.mgrid[0:32, 0:40]
    frames = [np.stack([rows * 5 + k * 9, columns * 4, 200 - rows * 2 - columns], axis=-1) for k in range(6)]
    return np.stack(frames).astype(np.uint8)


def augment_with(images: np.ndarray, seed: int = 0, **fields: object) -> np.ndarray:
    settings = config.build({key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}, *CONFIG)
    return augment(images, settings, np.random.default_rng(seed))


CONFIG = (AugmentationConfig, "train.yaml")


def test_the_defaults_change_nothing(images: np.ndarray) -> None:
    np.testing.assert_array_equal(augment_with(images), images)


def test_shift_and_brightness_of_a_seed_are_these(images: np.ndarray) -> None:
    """The shipped policy was trained with these draws, in this order, with this rounding."""
    random = np.random.default_rng(0)
    rows, columns = random.integers(0, 7, size=(2, len(images)))
    gains = random.uniform(0.85, 1.15, size=len(images)).astype(np.float32)
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    moved = np.stack([padded[k, rows[k] : rows[k] + 32, columns[k] : columns[k] + 40] for k in range(6)])
    expected = np.clip(moved.astype(np.float32) * gains[:, None, None, None] + 0.5, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(augment_with(images, shift_px=3, brightness=0.15), expected)


def test_every_shift_within_the_bounds_occurs_and_the_border_is_repeated() -> None:
    image = np.full((9, 9, 3), 50, np.uint8)
    image[4, 4] = 100
    shifted = augment_with(np.repeat(image[None], 300, axis=0), shift_px=2)
    places = {tuple(np.argwhere(frame[..., 0] == 100)[0]) for frame in shifted}
    assert places == {(row, column) for row in range(2, 7) for column in range(2, 7)}
    assert np.unique(shifted).tolist() == [50, 100]


def test_a_crop_has_its_share_of_the_area_and_lies_within_the_frame() -> None:
    rows, columns = np.mgrid[0:81, 0:101]
    frame = np.stack([rows * 3, columns * 2, rows * 0], axis=-1).astype(np.uint8)
    cropped = augment_with(np.repeat(frame[None], 200, axis=0), crop=0.81)
    top, bottom = cropped[:, 0, :, 0].mean(axis=1) / 3, cropped[:, -1, :, 0].mean(axis=1) / 3
    left, right = cropped[:, :, 0, 1].mean(axis=1) / 2, cropped[:, :, -1, 1].mean(axis=1) / 2
    np.testing.assert_allclose(bottom - top, 0.9 * 80, atol=0.5)
    np.testing.assert_allclose(right - left, 0.9 * 100, atol=0.5)
    assert (top.min() < 0.5, top.max() > 7.5, left.min() < 0.5, left.max() > 9.5) == (True,) * 4
    assert np.corrcoef(top, left)[0, 1] < 0.3  # the two corners are drawn apart


def test_a_crop_interpolates_linearly(images: np.ndarray) -> None:
    frame = images[0].astype(np.float64)
    cropped = augment_with(images[:1], crop=0.9)
    random = np.random.default_rng(0)
    random.integers(0, 1, size=(2, 1)), random.uniform(size=1)  # shift and brightness are drawn before
    top, left = random.uniform(size=1)[0], random.uniform(size=1)[0]
    side = 0.9**0.5
    y, x = (1 - side) * top * 31 + side * np.arange(32), (1 - side) * left * 39 + side * np.arange(40)
    y0, x0 = y.astype(int), x.astype(int)
    y1, x1 = np.minimum(y0 + 1, 31), np.minimum(x0 + 1, 39)
    fy, fx = (y - y0)[:, None, None], (x - x0)[None, :, None]
    above = frame[y0][:, x0] * (1 - fx) + frame[y0][:, x1] * fx
    below = frame[y1][:, x0] * (1 - fx) + frame[y1][:, x1] * fx
    np.testing.assert_allclose(cropped[0], above * (1 - fy) + below * fy, atol=1.0)


def test_a_brightness_delta_is_added_to_every_level(images: np.ndarray) -> None:
    added = []
    for before, after in zip(images, augment_with(images, brightness_delta=0.2), strict=True):
        inside = (after > 0) & (after < 255)
        steps = after.astype(int)[inside] - before[inside]
        assert np.ptp(steps) == 0
        added.append(abs(steps[0]))
    assert 25 < max(added) <= 51


def test_contrast_scales_distances_from_each_channels_mean(images: np.ndarray) -> None:
    for before, after in zip(images, augment_with(images, contrast=(0.8, 0.8)), strict=True):
        mean = before.mean(axis=(0, 1), dtype=np.float64)
        np.testing.assert_allclose(after, np.clip((before - mean) * 0.8 + mean, 0, 255), atol=0.501)


@pytest.mark.parametrize("factor", [0.8, 1.2, 0.0])
def test_saturation_scales_hsvs_saturation_alone(images: np.ndarray, factor: float) -> None:
    expected = in_hsv(images[0], lambda h, s, v: (h, min(s * factor, 1.0), v))
    np.testing.assert_allclose(augment_with(images[:1], saturation=(factor, factor))[0], expected, atol=0.51)


def test_hue_turns_by_at_most_its_share_and_keeps_the_rest(images: np.ndarray) -> None:
    random = np.random.default_rng(0)
    random.integers(0, 1, size=(2, 6)), random.uniform(size=(6, 6))  # what is drawn before
    turns = random.uniform(-0.05, 0.05, size=6)
    assert turns.min() < 0 < turns.max()
    for before, after, turn in zip(images, augment_with(images, hue=0.05), turns, strict=True):
        np.testing.assert_allclose(after, in_hsv(before, turned_by(turn)), atol=0.51)


def turned_by(turn: float) -> Callable[[float, float, float], tuple[float, float, float]]:
    return lambda hue, saturation, value: ((hue + turn) % 1, saturation, value)


def in_hsv(image: np.ndarray, change: Callable[[float, float, float], tuple[float, float, float]]) -> np.ndarray:
    """Pixel by pixel with Python's own colour conversion."""
    pixels = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel / 255))) for pixel in image.reshape(-1, 3)]
    return np.array(pixels).reshape(image.shape) * 255


def test_colours_are_never_inverted_nor_channels_swapped() -> None:
    ramp = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None, :, None], 32, axis=0)
    for channel in range(3):
        frame = np.full((32, 32, 3), 30, np.uint8)
        frame[..., channel : channel + 1] = ramp
        for augmented in augment(np.repeat(frame[None], 20, axis=0), RLDS, np.random.default_rng(channel)):
            means = augmented.mean(axis=0).astype(np.float64)
            assert (np.diff(means[:, channel]) > -1.5).all()
            assert means[-1].argmax() == channel


def test_grey_stays_grey() -> None:
    frame = np.repeat(np.arange(64, 192, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(16, axis=0)
    augmented = augment(frame[None], RLDS, np.random.default_rng(0))
    assert np.ptp(augmented, axis=-1).max() <= 1


def test_a_seed_decides_everything_and_frames_of_a_batch_differ(images: np.ndarray) -> None:
    same = np.repeat(images[:1], 4, axis=0)
    first, second = (augment(same, RLDS, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert all((first[0] != other).any() for other in first[1:])


def test_what_is_switched_on_beside_it_does_not_change_the_shift(images: np.ndarray) -> None:
    alone = augment_with(images, shift_px=4)
    both = augment_with(images, shift_px=4, brightness_delta=0.001)  # less than half a level
    np.testing.assert_array_equal(alone, both)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"shift_px": -1}, "train.yaml: shift_px: expected >= 0, got -1"),
        ({"crop": 0.0}, r"train.yaml: crop: expected in \(0, 1\], got 0.0"),
        ({"brightness": 1.0}, r"train.yaml: brightness: expected in \[0, 1\), got 1.0"),
        ({"hue": 0.6}, r"train.yaml: hue: expected in \[0, 0.5\), got 0.6"),
        ({"contrast": [1.2, 0.8]}, "train.yaml: contrast: expected .* low <= high"),
        ({"saturation": [-1.0, 1.0]}, "train.yaml: saturation: expected >= 0"),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        config.build(fields, *CONFIG)
