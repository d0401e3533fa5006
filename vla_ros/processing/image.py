"""Camera frame to vision-encoder input: the only such code, for training, export and the robot."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.contract import ImageSpec


def resize(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Bicubic to [size_px, size_px, 3]; an image that already has this size is returned as it is."""
    if image.shape[:2] == (size_px, size_px):
        return image
    # area averaging where it shrinks: bicubic alone would alias
    shrinks = min(image.shape[:2]) > size_px
    resized = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.asarray(resized, dtype=np.uint8)


def patchify(images: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.float32]:
    """Normalise and cut into patches in the order in which Qwen's vision encoder merges them.

    Equal, value by value, to transformers' Qwen2VLImageProcessor on an image of the right size.

    Args:
        images: uint8 [batch, size_px, size_px, 3], RGB.

    Returns:
        float32 [batch, patches, 3 * temporal_patch_size * patch_size_px**2]; patches of one image token are
        neighbours.
    """
    batch, merge, patch = len(images), spec.merge_size, spec.patch_size_px
    tokens = spec.patches_per_side // merge
    # one affine map per channel on the 8-bit values, as the official processor folds rescale into normalise
    scale = np.float32(1.0 / 255.0) / np.asarray(spec.std, np.float32)
    offset = np.asarray(spec.mean, np.float32) / np.asarray(spec.std, np.float32)
    pixels = images.astype(np.float32) * scale - offset
    blocks = pixels.reshape(batch, tokens, merge, patch, tokens, merge, patch, 3)
    # batch, token row, token column, row in token, column in token, channel, patch row, patch column
    blocks = blocks.transpose(0, 1, 4, 2, 5, 7, 3, 6)
    blocks = np.repeat(blocks[:, :, :, :, :, :, None], spec.temporal_patch_size, axis=6)
    return np.ascontiguousarray(blocks.reshape(batch, spec.patches_per_side**2, -1))


def prepare_image(image: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.float32]:
    """One camera frame uint8 [height, width, 3] to pixel values float32 [1, patches, features]."""
    return patchify(resize(image, spec.size_px)[None], spec)
