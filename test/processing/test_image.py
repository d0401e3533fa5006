"""The one image path, against transformers' official processors."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vla_ros.contract import ImageSpec
from vla_ros.processing.image import patchify, prepare_image, resize

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
QWEN2_5 = ImageSpec(size_px=112, patch_size_px=14, merge_size=2, temporal_patch_size=2, mean=CLIP_MEAN, std=CLIP_STD)
QWEN3 = ImageSpec(
    size_px=128, patch_size_px=16, merge_size=2, temporal_patch_size=2, mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.3)
)
PALIGEMMA = ImageSpec(
    size_px=224, patch_size_px=14, merge_size=1, temporal_patch_size=1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)
KOSMOS2 = ImageSpec(
    size_px=224,
    patch_size_px=14,
    merge_size=1,
    temporal_patch_size=1,
    mean=CLIP_MEAN,
    std=CLIP_STD,
    resampled_tokens=64,
)


def random_image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("spec", [QWEN2_5, QWEN3], ids=["qwen2_5_vl", "qwen3_vl"])
def test_patches_equal_qwens_official_processor(spec: ImageSpec) -> None:
    qwen = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    image = random_image(spec.size_px, spec.size_px)
    processor = qwen.Qwen2VLImageProcessorPil(
        patch_size=spec.patch_size_px,
        merge_size=2,
        temporal_patch_size=2,
        image_mean=list(spec.mean),
        image_std=list(spec.std),
        size={"shortest_edge": 32 * 32, "longest_edge": spec.size_px**2},
    )
    official = processor(images=image, return_tensors="np")
    assert official["image_grid_thw"].tolist() == [[1, 8, 8]]
    assert official["image_grid_thw"].prod() // 2**2 == spec.image_tokens
    np.testing.assert_allclose(prepare_image(image, spec)[0], official["pixel_values"], atol=2e-6)


@pytest.mark.parametrize("family", ["paligemma", "kosmos2"])
def test_patches_equal_those_of_the_official_processors_image(family: str) -> None:
    spec = {"paligemma": PALIGEMMA, "kosmos2": KOSMOS2}[family]
    image = random_image(224, 224)
    official = official_processor(family)(images=image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(image_of(prepare_image(image, spec)[0]), official, atol=2e-6)


def official_processor(family: str) -> Any:
    """With the means and sizes of its own defaults."""
    if family == "kosmos2":
        return pytest.importorskip("transformers.models.clip.image_processing_pil_clip").CLIPImageProcessorPil()
    return pytest.importorskip("transformers.models.siglip.image_processing_pil_siglip").SiglipImageProcessorPil()


def image_of(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Patches [16 * 16, 3 * 14 * 14], row by row, as the image [3, 224, 224] that a convolution cuts so."""
    return patches.reshape(16, 16, 3, 14, 14).transpose(2, 0, 3, 1, 4).reshape(3, 224, 224)


def test_a_patch_convolution_is_a_linear_map_on_the_patches() -> None:
    torch = pytest.importorskip("torch")
    convolution = torch.nn.Conv2d(3, 8, kernel_size=14, stride=14)
    patches = torch.from_numpy(prepare_image(random_image(224, 224), PALIGEMMA))
    with torch.no_grad():
        expected = convolution(torch.from_numpy(image_of(patches[0].numpy()))[None]).flatten(2).transpose(1, 2)
        mapped = torch.nn.functional.linear(patches, convolution.weight.flatten(1), convolution.bias)
    torch.testing.assert_close(mapped, expected, atol=1e-5, rtol=0)


def test_the_number_of_patches_and_tokens_is_that_of_the_paper() -> None:
    assert prepare_image(random_image(224, 224), PALIGEMMA).shape == (1, 256, 588)
    assert (PALIGEMMA.image_tokens, KOSMOS2.image_tokens) == (256, 64)


def test_the_four_patches_of_one_image_token_are_neighbours() -> None:
    image = np.zeros((1, 128, 128, 3), np.uint8)
    image[0, :32, 32:64] = 255  # the second 2 x 2 group of patches in the first row
    bright = patchify(image, QWEN3)[0].max(axis=1) > patchify(np.zeros_like(image), QWEN3)[0].max()
    assert np.flatnonzero(bright).tolist() == [4, 5, 6, 7]


def test_channels_stay_red_green_blue() -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    image[..., 0] = 255
    pixels = prepare_image(image, QWEN3)[0, 0].reshape(3, 2, 16, 16)
    expected = (np.array([1.0, 0.0, 0.0]) - QWEN3.mean) / QWEN3.std
    np.testing.assert_allclose(pixels[:, 0, 0, 0], expected, rtol=1e-6)


def test_every_8_bit_value_keeps_its_float_bit_by_bit() -> None:
    """The arithmetic of the shipped bundle: x * (1 / 255 / std) - mean / std, each step in float32."""
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    spec = ImageSpec(size_px=16, patch_size_px=16, merge_size=1, temporal_patch_size=1, mean=CLIP_MEAN, std=CLIP_STD)
    scale = np.float32(1.0 / 255.0) / np.asarray(CLIP_STD, np.float32)
    offset = np.asarray(CLIP_MEAN, np.float32) / np.asarray(CLIP_STD, np.float32)
    expected = np.arange(256, dtype=np.float32)[None] * scale[:, None] - offset[:, None]
    np.testing.assert_array_equal(patchify(image, spec).reshape(3, 256), expected)


def test_images_of_a_batch_do_not_mix() -> None:
    images = np.stack([random_image(128, 128), random_image(128, 128)[::-1]])
    both = patchify(images, QWEN3)
    for index in range(2):
        np.testing.assert_array_equal(both[index], patchify(images[index][None], QWEN3)[0])


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[batch, 128, 128, 3\], got \[1, 64, 64, 3\]"):
        patchify(random_image(64, 64)[None], QWEN3)


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


def test_a_shrunken_image_is_the_mean_over_areas() -> None:
    image = random_image(256, 256)
    means = image.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(image, 128), means, atol=0.51)


@pytest.mark.parametrize("rows", [64, 128])
def test_a_side_that_shrinks_does_not_alias_where_the_other_does_not(rows: int) -> None:
    """A frame of 480 x 640 at 512 px; here stripes of one pixel, whose mean is grey."""
    stripes = np.zeros((rows, 512, 3), np.uint8)
    stripes[:, ::2] = 254
    assert np.unique(resize(stripes, 128)).tolist() == [127]


def test_the_second_resizing_follows_the_first() -> None:
    """Upstream gives Qwen a 224 px image that was enlarged to 448 px: sharper input would be another experiment."""
    twice = ImageSpec(
        size_px=224,
        encoder_px=448,
        patch_size_px=14,
        merge_size=2,
        temporal_patch_size=2,
        mean=CLIP_MEAN,
        std=CLIP_STD,
    )
    once = ImageSpec(size_px=448, patch_size_px=14, merge_size=2, temporal_patch_size=2, mean=CLIP_MEAN, std=CLIP_STD)
    camera = random_image(256, 256)
    assert twice.image_tokens == 256
    expected = prepare_image(resize(resize(camera, 224), 448), once)
    np.testing.assert_array_equal(prepare_image(camera, twice), expected)
    assert not np.allclose(prepare_image(camera, once), expected, atol=0.1)
