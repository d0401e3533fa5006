"""Frames of a data set to tensors, through the robot's own image, prompt and normalisation code."""

import numpy as np
import torch
from numpy.typing import NDArray

from vla_ros.contract import ImageSpec
from vla_ros.data.augmentation import AugmentationConfig, augment
from vla_ros.data.windows import Samples, Windows
from vla_ros.errors import DatasetError, ObservationError
from vla_ros.processing.image import patchify, resize
from vla_ros.processing.normalization import ActionNormalizer
from vla_ros.processing.prompt import Prompt, PromptEncoder
from vla_ros.train.task import Batch


class SampleEncoder:
    """Samples to what the policy reads; nothing here is random."""

    def __init__(self, windows: Windows, image: ImageSpec, encoder: PromptEncoder, queries: int) -> None:
        """Raises DatasetError if the policy cannot read an instruction; names an episode that has it."""
        self._image = image
        prompts = [_encode(encoder, instruction, windows) for instruction in windows.instructions]
        self._query_index = np.array([prompt.query_index for prompt in prompts])
        # padding behind the queries is invisible to them, so training leaves out what no prompt uses
        used = self._query_index.max() + queries
        self._ids = np.stack([prompt.input_ids for prompt in prompts])[:, :used]

    def encode(self, images: NDArray[np.uint8], instructions: NDArray[np.int64]) -> Batch:
        """Frames uint8 [batch, height, width, 3] and their instructions' numbers to what `VLAPolicy.forward` reads."""
        resized = np.stack([resize(image, self._image.size_px) for image in images])
        return {
            "pixel_values": torch.from_numpy(patchify(resized, self._image)),
            "input_ids": torch.from_numpy(self._ids[instructions]),
            "query_index": torch.from_numpy(self._query_index[instructions]),
        }


def _encode(encoder: PromptEncoder, instruction: str, windows: Windows) -> Prompt:
    try:
        return encoder.encode(instruction)
    except ObservationError as error:
        episode = next(e for e in windows.episodes if instruction == e.instruction or instruction in e.other_positions)
        raise DatasetError(f"{episode.name}: {error}") from error


class PolicyBatches:
    """Random batches; the samples of update `step` depend on the seed and the step alone, whoever computes them."""

    def __init__(
        self,
        windows: Windows,
        encoder: SampleEncoder,
        normalizer: ActionNormalizer,
        frame_weights: NDArray[np.float64],
        augmentation: AugmentationConfig,
        *,
        batch_size: int,
        seed: int,
        has_scene: bool,
    ) -> None:
        self._windows, self._encoder, self._normalizer = windows, encoder, normalizer
        self._cumulative, self._augmentation = np.cumsum(frame_weights), augmentation
        self._batch_size, self._seed, self._has_scene = batch_size, seed, has_scene

    def batch(self, step: int, part: int, parts: int) -> Batch:
        """What `TrainingModule.forward` takes; see `BatchSource.batch`."""
        frames = self._draw(step)
        size = self._batch_size // parts
        numbers = range(part * size, (part + 1) * size)
        samples = self._windows.take(frames[numbers.start : numbers.stop])
        # shares of the mean over the whole update, which has so many steps that count
        share = np.float32(parts / max(1, self._windows.valid(frames).sum()))
        batch = self._encoder.encode(self._augment(samples, step, numbers), samples.instructions)
        batch["targets"] = torch.from_numpy(self._normalizer.normalize(samples.actions))
        batch["weights"] = torch.from_numpy(samples.valid * share)
        if self._has_scene:
            batch["scene"] = torch.from_numpy(samples.scene)
        return batch

    def _draw(self, step: int) -> NDArray[np.int64]:
        draws = np.random.default_rng((self._seed, step)).random(self._batch_size) * self._cumulative[-1]
        return np.searchsorted(self._cumulative, draws, side="right").astype(np.int64)

    def _augment(self, samples: Samples, step: int, numbers: range) -> NDArray[np.uint8]:
        # one generator per sample, so that it is changed alike in whichever part it is computed
        return np.concatenate(
            [
                augment(image[None], self._augmentation, np.random.default_rng((self._seed, step, number)))
                for image, number in zip(samples.images, numbers, strict=True)
            ]
        )
