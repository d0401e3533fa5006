"""Camera frame to vision-encoder input: the only such code, for training, export and the robot."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.contract import ImageSpec


def resize(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """To [size_px, size_px, 3]; an image that already has this size is returned as it is.

    OpenCV's area averaging along sides that shrink, its bicubic (a = -0.75) along those that grow. The authors use
    Pillow's bicubic (a = -0.5, which averages where it shrinks): between the two, pixels of a smooth image differ by a
    few 8-bit steps, those of a noisy one by tens.
    """
    rows, columns = (min(side, size_px) for side in image.shape[:2])
    if image.shape[:2] != (rows, columns):  # OpenCV's bicubic alone would alias
        image = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    if (rows, columns) != (size_px, size_px):
        image = np.asarray(cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_CUBIC), np.uint8)
    return image


def patchify(images: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.float32]:
    """Normalise and cut into patches, in the order in which the vision encoder merges them.

    Equal, value by value, to transformers' image processor of the family on an image of the right size: Qwen's patches
    as they are, those of SigLIP and CLIP as their patch convolution sees them. Where the spec has an `encoder_px`, the
    images are enlarged to it first.

    Args:
        images: uint8 [batch, size_px, size_px, 3], RGB.

    Returns:
        float32 [batch, patches, 3 * temporal_patch_size * patch_size_px**2]; patches of one image token are
        neighbours.
    """
    if images.shape[1:] != (spec.size_px, spec.size_px, 3):
        raise ValueError(f"images: expected [batch, {spec.size_px}, {spec.size_px}, 3], got {list(images.shape)}")
    merge, patch = spec.merge_size, spec.patch_size_px
    tokens = spec.patches_per_side // merge
    table = _normalized_values(spec)
    # batch, token row, token column, row in token, column in token, channel, time, patch row, patch column
    shape = (len(images), tokens, tokens, merge, merge, 3, spec.temporal_patch_size, patch, patch)
    patches = np.empty(shape, np.float32)
    for index, image in enumerate(images):
        for channel, plane in enumerate(cv2.split(resize(image, spec.final_px))):
            blocks = cv2.LUT(plane, table[channel]).reshape(tokens, merge, patch, tokens, merge, patch)
            patches[index, :, :, :, :, channel] = blocks.transpose(0, 3, 1, 4, 2, 5)[:, :, :, :, None]
    return patches.reshape(len(images), spec.patches_per_side**2, -1)


def _normalized_values(spec: ImageSpec) -> NDArray[np.float32]:
    """What each 8-bit value becomes, float32 [3, 256]: a look-up is three times as fast as the arithmetic."""
    # one affine map per channel on the 8-bit values, as the official processor folds rescale into normalise
    scale = np.float32(1.0 / 255.0) / np.asarray(spec.std, np.float32)
    offset = np.asarray(spec.mean, np.float32) / np.asarray(spec.std, np.float32)
    values = np.arange(256, dtype=np.float32)
    return np.ascontiguousarray(values * scale[:, None] - offset[:, None])


def prepare_image(image: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.float32]:
    """One camera frame uint8 [height, width, 3] to pixel values float32 [1, patches, features]."""
    return patchify(resize(image, spec.size_px)[None], spec)
