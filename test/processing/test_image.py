"""The one image path, against transformers' official processor."""

import cv2
import numpy as np
import pytest

from vla_ros.contract import ImageSpec
from vla_ros.processing.image import patchify, prepare_image, resize


@pytest.fixture
def spec() -> ImageSpec:
    return ImageSpec(
        size_px=128, patch_size_px=16, merge_size=2, temporal_patch_size=2, mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.3)
    )


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_patches_equal_the_official_processor(spec: ImageSpec) -> None:
    transformers = pytest.importorskip("transformers")
    pil = pytest.importorskip("PIL.Image")
    image = random_image(128, 128)
    processor = transformers.models.qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil(
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        image_mean=list(spec.mean),
        image_std=list(spec.std),
        size={"shortest_edge": 32 * 32, "longest_edge": 128 * 128},
    )
    official = processor(images=pil.fromarray(image), return_tensors="np")
    assert official["image_grid_thw"].tolist() == [[1, 8, 8]]
    np.testing.assert_allclose(prepare_image(image, spec)[0], official["pixel_values"], atol=2e-6)


def test_the_four_patches_of_one_image_token_are_neighbours(spec: ImageSpec) -> None:
    image = np.zeros((1, 128, 128, 3), np.uint8)
    image[0, :32, 32:64] = 255  # the second 2 x 2 group of patches in the first row
    bright = patchify(image, spec)[0].max(axis=1) > patchify(np.zeros_like(image), spec)[0].max()
    assert np.flatnonzero(bright).tolist() == [4, 5, 6, 7]


def test_channels_stay_red_green_blue(spec: ImageSpec) -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    image[..., 0] = 255
    pixels = prepare_image(image, spec)[0, 0].reshape(3, 2, 16, 16)
    expected = (np.array([1.0, 0.0, 0.0]) - spec.mean) / spec.std
    np.testing.assert_allclose(pixels[:, 0, 0, 0], expected, rtol=1e-6)


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    image = random_image(128, 128)
    assert resize(image, 128) is image


@pytest.mark.parametrize("size", [64, 256])
def test_resizing_keeps_a_flat_colour_and_the_orientation(size: int) -> None:
    image = np.zeros((size, size, 3), np.uint8)
    image[: size // 2] = (200, 100, 50)
    resized = resize(image, 128)
    assert resized.shape == (128, 128, 3)
    assert resized[5, 64].tolist() == [200, 100, 50]
    assert resized[-5, 64].tolist() == [0, 0, 0]


def test_an_enlarged_image_is_bicubic() -> None:
    image = random_image(64, 64)
    np.testing.assert_array_equal(resize(image, 128), cv2.resize(image, (128, 128), interpolation=cv2.INTER_CUBIC))
