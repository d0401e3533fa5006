"""Image augmentation on 8-bit frames, before the one preprocessing that training and robot share."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.config import check_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationConfig:
    """What is changed at random, once per frame, in this order; the defaults change nothing.

    Attributes:
        shift_px: each frame moves by up to so many pixels along both axes, its border repeated (10 for CALVIN) [px].
        crop: each frame is enlarged from a part of it with this share of its area and its aspect (0.9 for RLDS data).
        brightness: each frame is multiplied by a factor in [1 - brightness, 1 + brightness].
        brightness_delta: a number in [-brightness_delta, brightness_delta] is added, of a range of 1 (0.2 for RLDS).
        contrast: distances from the channel's mean are multiplied by a factor in this range (0.8 to 1.2 for RLDS).
        saturation: likewise, HSV's saturation (0.8 to 1.2 for RLDS).
        hue: HSV's hue turns by up to this part of a full turn, both ways (0.05 for RLDS).
    """

    shift_px: int = 0
    crop: float = 1.0
    brightness: float = 0.0
    brightness_delta: float = 0.0
    contrast: tuple[float, float] = (1.0, 1.0)
    saturation: tuple[float, float] = (1.0, 1.0)
    hue: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, "shift_px", "contrast", "saturation", least=0)
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop: expected in (0, 1], got {self.crop}")
        for name, end in (("brightness", 1.0), ("brightness_delta", 1.0), ("hue", 0.5)):
            if not 0 <= getattr(self, name) < end:
                raise ValueError(f"{name}: expected in [0, {end:g}), got {getattr(self, name)}")
        for name in ("contrast", "saturation"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: expected [low, high] with low <= high, got [{low}, {high}]")


@dataclass(frozen=True, slots=True)
class _Draws:
    """What chance decided for a batch; each [batch].

    Attributes:
        row, column: of the shift, from 0 to 2 * shift_px.
        gain, delta, contrast, saturation, hue: of the colours.
        top, left: of the crop, as a share of the room that it has.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    gain: NDArray[np.float32]
    top: NDArray[np.float32]
    left: NDArray[np.float32]
    delta: NDArray[np.float32]
    contrast: NDArray[np.float32]
    saturation: NDArray[np.float32]
    hue: NDArray[np.float32]


def augment(images: NDArray[np.uint8], config: AugmentationConfig, random: np.random.Generator) -> NDArray[np.uint8]:
    """Changed copies of RGB frames uint8 [batch, height, width, 3]; colours are rounded once, at the end."""
    draws = _draw(config, len(images), random)
    return np.stack([_colour(_move(image, config, draws, k), config, draws, k) for k, image in enumerate(images)])


def _draw(config: AugmentationConfig, batch: int, random: np.random.Generator) -> _Draws:
    # always all of them, and new ones behind: a seed keeps its meaning whatever else is switched on
    row, column = random.integers(0, 2 * config.shift_px + 1, size=(2, batch))

    def between(low: float, high: float) -> NDArray[np.float32]:
        return random.uniform(low, high, size=(batch,)).astype(np.float32)

    return _Draws(
        row=row,
        column=column,
        gain=between(1 - config.brightness, 1 + config.brightness),
        top=between(0, 1),
        left=between(0, 1),
        delta=between(-config.brightness_delta, config.brightness_delta),
        contrast=between(*config.contrast),
        saturation=between(*config.saturation),
        hue=between(-config.hue, config.hue),
    )


def _move(image: NDArray[np.uint8], config: AugmentationConfig, draws: _Draws, k: int) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    if config.shift_px:
        pad = config.shift_px
        padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        image = np.asarray(padded[draws.row[k] :, draws.column[k] :][:height, :width], np.uint8)
    if config.crop < 1:
        side = config.crop**0.5
        # corner pixels of the part become corner pixels of the frame, as in TensorFlow's crop_and_resize
        x, y = (1 - side) * draws.left[k] * (width - 1), (1 - side) * draws.top[k] * (height - 1)
        source_from_frame = np.array([[side, 0, x], [0, side, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image = np.asarray(cv2.warpAffine(image, source_from_frame, (width, height), flags=flags), np.uint8)
    return image


def _colour(image: NDArray[np.uint8], config: AugmentationConfig, draws: _Draws, k: int) -> NDArray[np.uint8]:
    # a channel's new level depends on its old one alone, up to the contrast: one table per channel
    levels = np.clip(np.arange(256, dtype=np.float32) * draws.gain[k], 0, 255)
    levels = np.clip(levels + 255 * draws.delta[k], 0, 255)
    table = np.repeat(levels[:, None], 3, axis=1)
    if config.contrast != (1.0, 1.0):
        counts = np.stack([cv2.calcHist([image], [c], None, [256], [0, 256]).ravel() for c in range(3)], axis=1)
        means = (counts * table).sum(axis=0, dtype=np.float64) / counts[:, 0].sum(dtype=np.float64)
        table = np.clip((table - means) * draws.contrast[k] + means, 0, 255).astype(np.float32)
    if config.saturation == (1.0, 1.0) and config.hue == 0:
        return np.asarray(cv2.LUT(image, (table + 0.5).astype(np.uint8)[None]), np.uint8)
    # float32: 0 to 360, 0 to 1, 0 to 1; changed in place, as cv2.split takes five times as long
    hsv = np.asarray(cv2.cvtColor(cv2.LUT(image, table[None] / 255), cv2.COLOR_RGB2HSV))
    hue, saturation = hsv[..., 0], hsv[..., 1]
    saturation *= draws.saturation[k]
    np.minimum(saturation, np.float32(1), out=saturation)
    hue += 360 * (draws.hue[k] % 1)
    hue -= np.float32(360) * (hue >= 360)  # beyond a full turn OpenCV's vector code is wrong
    return np.asarray(cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), alpha=255), np.uint8)
