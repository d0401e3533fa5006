"""Image augmentation on 8-bit frames, before the one preprocessing that training and robot share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationConfig:
    """Attributes:
    shift_px: each frame moves by up to so many pixels along both axes, its border repeated [px].
    brightness: each frame is multiplied by a factor in [1 - brightness, 1 + brightness].
    """

    shift_px: int
    brightness: float

    def __post_init__(self) -> None:
        if self.shift_px < 0:
            raise ValueError(f"shift_px: expected >= 0, got {self.shift_px}")
        if not 0 <= self.brightness < 1:
            raise ValueError(f"brightness: expected in [0, 1), got {self.brightness}")


def augment(images: NDArray[np.uint8], config: AugmentationConfig, random: np.random.Generator) -> NDArray[np.uint8]:
    """Shifted and brightened copies of frames uint8 [batch, height, width, 3]."""
    batch, height, width, _ = images.shape
    pad = config.shift_px
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
    rows, columns = random.integers(0, 2 * pad + 1, size=(2, batch))
    gains = random.uniform(1 - config.brightness, 1 + config.brightness, size=(batch,)).astype(np.float32)
    augmented = np.empty_like(images)
    levels = np.arange(256, dtype=np.float32)
    for index in range(batch):
        row, column = rows[index], columns[index]
        crop = padded[index, row : row + height, column : column + width]
        table = np.clip(levels * gains[index] + 0.5, 0, 255).astype(np.uint8)
        augmented[index] = table[crop]
    return augmented
