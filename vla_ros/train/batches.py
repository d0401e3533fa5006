"""Batches as a pure function of (seed, step): a resumed run sees exactly what the uninterrupted one would."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.contract import ImageSpec
from vla_ros.data.augmentation import AugmentationConfig, augment
from vla_ros.data.windows import Windows
from vla_ros.processing.image import patchify, resize
from vla_ros.processing.normalization import ActionNormalizer
from vla_ros.processing.prompt import PromptEncoder


@dataclass(frozen=True, slots=True)
class Batch:
    """What the policy reads and should say; shapes as in `VLAPolicy.forward`, `action_loss` and `Samples`."""

    pixel_values: Tensor
    input_ids: Tensor
    query_index: Tensor
    targets: Tensor
    valid: Tensor
    scene: Tensor
    actions: NDArray[np.float32]


class BatchMaker:
    """Frames of a data set to tensors, through the robot's own image, prompt and normalisation code."""

    def __init__(
        self, windows: Windows, image: ImageSpec, encoder: PromptEncoder, normalizer: ActionNormalizer
    ) -> None:
        self._windows, self._image, self._normalizer = windows, image, normalizer
        prompts = [encoder.encode(instruction) for instruction in windows.instructions]
        self._query_index = np.array([prompt.query_index for prompt in prompts])
        # padding behind the query is invisible to it, so training leaves out what no prompt uses
        self._ids = np.stack([prompt.input_ids for prompt in prompts])[:, : self._query_index.max() + 1]

    def make(
        self,
        frames: NDArray[np.int64],
        augmentation: AugmentationConfig | None = None,
        random: np.random.Generator | None = None,
    ) -> Batch:
        """The batch that starts at these frames, augmented if both optional arguments are given."""
        samples = self._windows.take(frames)
        images = samples.images
        if augmentation is not None and random is not None:
            images = augment(images, augmentation, random)
        resized = np.stack([resize(image, self._image.size_px) for image in images])
        return Batch(
            pixel_values=torch.from_numpy(patchify(resized, self._image)),
            input_ids=torch.from_numpy(self._ids[samples.instructions]),
            query_index=torch.from_numpy(self._query_index[samples.instructions]),
            targets=torch.from_numpy(self._normalizer.normalize(samples.actions)),
            valid=torch.from_numpy(samples.valid),
            scene=torch.from_numpy(samples.scene),
            actions=samples.actions,
        )


class TrainingStream:
    """Random batches; batch `step` depends on the seed and the step alone."""

    def __init__(
        self,
        maker: BatchMaker,
        weights: NDArray[np.float64],
        batch_size: int,
        augmentation: AugmentationConfig,
        seed: int,
    ) -> None:
        self._maker, self._cumulative = maker, np.cumsum(weights)
        self._batch_size, self._augmentation, self._seed = batch_size, augmentation, seed

    def batch(self, step: int) -> Batch:
        """The batch of this step."""
        random = np.random.default_rng((self._seed, step))
        draws = random.random(self._batch_size) * self._cumulative[-1]
        frames = np.searchsorted(self._cumulative, draws, side="right").astype(np.int64)
        return self._maker.make(frames, self._augmentation, random)
