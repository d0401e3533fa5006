"""The training of a policy: its module, its batches and its errors on held-out episodes."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.data.windows import Windows
from vla_ros.errors import ConfigError
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.processing.normalization import ActionNormalizer
from vla_ros.train.build import build_policy, build_prompt_encoder
from vla_ros.train.config import TrainConfig
from vla_ros.train.data import TrainingData
from vla_ros.train.objectives import SCENE_DIM, SceneHead, action_loss
from vla_ros.train.policy_batches import PolicyBatches, SampleEncoder
from vla_ros.train.policy_module import TrainingModule
from vla_ros.train.start import load_start
from vla_ros.train.task import BatchSource

VALIDATION_FRAMES = 1024
VALIDATION_BATCH = 64


class PolicyTask:
    """See `task.Task`.

    Attributes:
        policy: the part of the module that is exported.
        normalizer: between model units and SI units.
        validation_encoder: of the held-out frames.
    """

    better = "val_loss"

    def __init__(self, config: TrainConfig, data: TrainingData, pretrained: bool = True) -> None:
        """Args:
            pretrained: False does not read the pretrained weights, for a checkpoint that replaces them anyhow.

        Raises:
            ConfigError: the policy cannot be built, or the data have no positions for a scene head.
            DatasetError: an instruction is too long, or no frame has a phase of `data.phase_weights`.
            ContractError: the data's actions cannot be normalised.
        """
        self._config, self._data = config, data
        self.companions = data.companions
        self.normalizer = ActionNormalizer(data.statistics, config.arm_bounds, config.recipe)
        self.train: BatchSource = PolicyBatches(
            data.train,
            self._encoder(data.train),
            self.normalizer,
            data.train.sampling_weights(config.data.phase_weights, config.data.question_share),
            config.augmentation,
            batch_size=config.optimizer.batch_size,
            seed=config.seed,
            has_scene=config.objective.scene_weight > 0,
        )
        self.validation_encoder = self._encoder(data.validation)
        self.policy = self._build_policy(pretrained)
        objective = config.objective
        self.module: nn.Module = TrainingModule(
            self.policy,
            _scene_head(data.train, self.policy, objective.scene_weight),
            huber_delta=objective.huber_delta,
            gripper_weight=config.gripper_weight,
            scene_weight=objective.scene_weight,
        )

    def _encoder(self, windows: Windows) -> SampleEncoder:
        policy = self._config.policy
        encoder = build_prompt_encoder(self._data.tokenizer, policy, self._config.recipe)
        return SampleEncoder(windows, policy.image, encoder, policy.action_queries)

    def _build_policy(self, pretrained: bool) -> VLAPolicy:
        config = self._config
        start = config.start_from if pretrained else None
        policy = build_policy(
            config.policy,
            config.recipe,
            config.chunk_size,
            self._data.tokenizer,
            config.seed,
            pretrained and start is None,
        )
        if start is not None:
            load_start(policy, start)
        if config.gradient_checkpointing:
            policy.backbone.enable_gradient_checkpointing()
        return policy

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Mean errors on held-out episodes: in mm, degrees and per cent of right gripper states; and their loss."""
        windows = self._data.validation
        frames = _spread(len(windows))
        outputs, scenes = self._predict(module, frames)
        truth = windows.chunks(frames)
        valid = windows.valid(frames)
        errors = self._losses(outputs, truth, valid)
        errors |= action_errors(self.normalizer.unnormalize(outputs), truth, valid)
        if scenes is not None:
            errors |= scene_errors(scenes, windows.scene[frames])
        if windows.questions:
            frames = len(windows) + _spread(windows.questions)
            _, scenes = self._predict(module, frames)
            assert scenes is not None  # a config with questions has a scene head
            errors["val_other_target_mm"] = scene_errors(scenes, windows.scene[frames])["val_target_mm"]
        return errors

    def _predict(
        self, module: nn.Module, frames: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        device = next(module.parameters()).device
        outputs, scenes = [], []
        for part in np.array_split(frames, math.ceil(len(frames) / VALIDATION_BATCH)):
            samples = self._data.validation.take(part)
            batch = self.validation_encoder.encode(samples.images, samples.instructions)
            answers: dict[str, Tensor] = module(**{name: tensor.to(device) for name, tensor in batch.items()})
            outputs.append(answers["outputs"].float().cpu().numpy())
            if "scene" in answers:
                scenes.append(answers["scene"].float().cpu().numpy())
        return np.concatenate(outputs), np.concatenate(scenes) if scenes else None

    def _losses(
        self, outputs: NDArray[np.float32], truth: NDArray[np.float32], valid: NDArray[np.bool_]
    ) -> dict[str, float]:
        targets = torch.from_numpy(self.normalizer.normalize(truth))
        weights = torch.from_numpy(valid / np.float32(valid.sum()))
        losses = action_loss(torch.from_numpy(outputs), targets, weights, self._config.objective.huber_delta)
        return {"val_loss": (losses["arm"] + self._config.gripper_weight * losses["gripper"]).item()}


def _spread(count: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(VALIDATION_FRAMES, count)).astype(np.int64)


def action_errors(
    predicted: NDArray[np.float32], truth: NDArray[np.float32], valid: NDArray[np.bool_]
) -> dict[str, float]:
    """Of actions [frames, chunk, 7] in SI units: means over the steps that are valid [frames, chunk].

    Returns:
        Euclidean errors of translation and rotation, the share of right gripper states, and the absolute error of each
        dimension of the arm.
    """
    error = (predicted - truth)[valid]
    is_right = ((predicted[..., ARM_DIM] > 0.5) == (truth[..., ARM_DIM] > 0.5))[valid]
    errors = {
        "val_translation_mm": 1e3 * float(np.linalg.norm(error[:, :3], axis=-1).mean()),
        "val_rotation_deg": math.degrees(float(np.linalg.norm(error[:, 3:ARM_DIM], axis=-1).mean())),
        "val_gripper_percent": 100 * float(is_right.mean()),
    }
    for number, name in enumerate(ACTION_NAMES[:ARM_DIM]):
        mean = float(np.abs(error[:, number]).mean())
        errors |= {f"val_{name}_mm": 1e3 * mean} if number < 3 else {f"val_{name}_deg": math.degrees(mean)}
    return errors


def scene_errors(predicted: NDArray[np.float32], truth: NDArray[np.float32]) -> dict[str, float]:
    """Mean Euclidean errors of the first three positions in [frames, 9 + 3 n], which are in metres."""
    error = (predicted - truth)[:, :SCENE_DIM].reshape(-1, 3, 3)
    distances = np.linalg.norm(error, axis=-1).mean(axis=0)
    names = ("val_target_mm", "val_goal_mm", "val_effector_mm")
    return dict(zip(names, (1e3 * distances).tolist(), strict=True))


def _scene_head(windows: Windows, policy: VLAPolicy, weight: float) -> SceneHead | None:
    if not weight:
        return None
    if not np.isfinite(windows.scene[:, :SCENE_DIM]).all():
        raise ConfigError(
            "objective.scene_weight: expected 0 for demonstrations without target, goal and effector positions, "
            f"got {weight}"
        )
    mean, std = np.nanmean(windows.scene, 0), np.nanstd(windows.scene, 0).clip(1e-3)
    width = policy.backbone.hidden_size
    return SceneHead(policy.hidden_size, width, torch.from_numpy(mean), torch.from_numpy(std))
