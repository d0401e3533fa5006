"""The training loop: stop it at any time, start it again, and it goes on where it was."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from vla_ros.action import ARM_DIM
from vla_ros.data.libero import LiberoDataset
from vla_ros.data.windows import Windows
from vla_ros.errors import ConfigError, VlaRosError
from vla_ros.processing.normalization import ActionNormalizer, Statistics
from vla_ros.processing.tokenizer import train_tokenizer
from vla_ros.train import checkpoint, curves
from vla_ros.train.batches import Batch, BatchMaker, TrainingStream
from vla_ros.train.build import build_policy, build_prompt_encoder
from vla_ros.train.config import OptimizerConfig, TrainConfig
from vla_ros.train.interruption import deferred_interruption
from vla_ros.train.objectives import SceneHead, action_loss

VALIDATION_FRAMES = 1024


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Training and validation frames, their tokenizer and the statistics of the training actions."""

    train: Windows
    validation: Windows
    tokenizer: Tokenizer
    statistics: Statistics

    @property
    def companions(self) -> dict[str, str]:
        """The texts of `statistics.json` and `tokenizer.json`."""
        return {"statistics.json": self.statistics.to_json(), "tokenizer.json": self.tokenizer.to_str(pretty=True)}


def load_data(config: TrainConfig) -> TrainingData:
    """Read the demonstrations into memory and split off whole episodes for validation.

    Raises:
        DatasetError: nothing to read, or a file is damaged.
        ConfigError: fewer episodes than are set aside for validation.
    """
    dataset = LiberoDataset(config.data.path, labels=config.data.labels)
    episodes = list(tqdm(dataset.episodes(), desc="reading demonstrations", unit="episode"))
    held_out = config.data.validation_episodes
    if not 0 < held_out < len(episodes):
        raise ConfigError(f"data.validation_episodes: expected in (0, {len(episodes)}), got {held_out}")
    chosen = set(np.linspace(0, len(episodes) - 1, held_out).round().astype(int).tolist())
    for episode in episodes:
        config.policy.camera.check(episode.images[0], str(config.data.path))
    chunk = config.policy.chunk_size
    train = Windows([e for i, e in enumerate(episodes) if i not in chosen], chunk)
    validation = Windows([e for i, e in enumerate(episodes) if i in chosen], chunk)
    tokenizer = train_tokenizer(train.instructions, config.policy.tokenizer_vocabulary)
    return TrainingData(train, validation, tokenizer, Statistics.of(train.actions))


def learning_rate(step: int, config: OptimizerConfig) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


class Trainer:
    """One run: policy, moving average, optimizer and where they stand."""

    def __init__(self, config: TrainConfig, data: TrainingData) -> None:
        self.config = config
        self.companions = checkpoint.digest_of(data.companions)
        self.device = torch.device(config.device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device: expected a CUDA GPU that PyTorch can use, got none; set `device: cpu`")
        encoder = build_prompt_encoder(data.tokenizer, config.policy)
        self.normalizer = ActionNormalizer(data.statistics)
        maker = BatchMaker(data.train, config.policy.image, encoder, self.normalizer)
        weights = data.train.sampling_weights(config.data.phase_weights)
        self.stream = TrainingStream(maker, weights, config.optimizer.batch_size, config.augmentation, config.seed)
        self.validation = BatchMaker(data.validation, config.policy.image, encoder, self.normalizer)
        count = min(VALIDATION_FRAMES, len(data.validation))
        self.validation_frames = np.linspace(0, len(data.validation) - 1, count).astype(np.int64)
        self.policy = build_policy(config.policy, data.tokenizer, config.seed).to(self.device)
        self.ema = build_policy(config.policy, data.tokenizer, config.seed).to(self.device).eval()
        self.scene = self._scene_head(data.train) if config.objective.scene_weight else None
        self.optimizer = self._optimizer()
        self.step = 0

    def _scene_head(self, windows: Windows) -> SceneHead:
        if not np.isfinite(windows.scene).all():
            raise ConfigError(
                "objective.scene_weight: expected 0 for demonstrations without target, goal and effector positions, "
                f"got {self.config.objective.scene_weight}"
            )
        mean = torch.from_numpy(windows.scene.mean(0))
        std = torch.from_numpy(windows.scene.std(0).clip(1e-3))
        return SceneHead(self.policy.backbone.hidden_size, mean, std).to(self.device)

    def _optimizer(self) -> torch.optim.AdamW:
        named = list(self.policy.named_parameters())
        if self.scene is not None:
            named += list(self.scene.named_parameters())
        # norms, biases and the query are not decayed
        matrices = [parameter for _, parameter in named if parameter.ndim >= 2]
        vectors = [parameter for _, parameter in named if parameter.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": self.config.optimizer.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.config.optimizer.learning_rate, betas=(0.9, 0.99))

    def run(self) -> None:
        """Train to the last step; writes checkpoint, metrics and curve at every validation and at an interruption.

        Raises:
            VlaRosError: the loss is not finite; the last checkpoint stays as it was.
            KeyboardInterrupt: SIGINT or SIGTERM came; the checkpoint is of the last whole step.
        """
        total = self.config.optimizer.steps
        started, window = time.monotonic(), []
        bar = tqdm(total=total, initial=self.step, desc="training", unit="step", smoothing=0.05)
        with bar as progress, deferred_interruption() as interruption:
            while self.step < total and not interruption.is_set():
                losses = self.train_step()
                window.append(losses)
                progress.update()
                progress.set_postfix_str(" ".join(f"{name} {value:.4f}" for name, value in losses.items()))
                if self.step % self.config.validate_every == 0 or self.step == total:
                    means = {name: float(np.mean([row[name] for row in window])) for name in losses}
                    elapsed = time.monotonic() - started
                    rate = len(window) * self.config.optimizer.batch_size / elapsed
                    self._report(means | {"samples_per_s": rate}, progress)
                    started, window = time.monotonic(), []
            if self.step < total:
                self.save()
                progress.write(f"stopped after step {self.step}; the same command goes on from here")
                raise KeyboardInterrupt

    def train_step(self) -> dict[str, float]:
        """One step of the optimizer on the batch that belongs to it; the losses before it."""
        batch = self.stream.batch(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config.optimizer)
        self.policy.train()
        losses = self.losses(batch)
        if not torch.isfinite(losses["loss"]):
            raise VlaRosError(
                f"step {self.step}: loss: expected a finite number, got {losses['loss'].item()}; "
                f"{self.config.output / checkpoint.FILE_NAME} is the last good state"
            )
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, self.config.optimizer.gradient_clip)
        self.optimizer.step()
        self._update_average()
        self.step += 1
        return {name: value.item() for name, value in losses.items()}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted `loss` and its unweighted parts."""
        with self._autocast():
            hidden = self.policy.hidden(*self._inputs(batch))
            outputs = self.policy.head(hidden)
        weights = self.config.objective
        losses = action_loss(outputs.float(), batch.targets.to(self.device), batch.valid.to(self.device), weights)
        total = losses["arm"] + weights.gripper_weight * losses["gripper"]
        if self.scene is not None:
            losses["scene"] = self.scene.loss(hidden.float(), batch.scene.to(self.device))
            total = total + weights.scene_weight * losses["scene"]
        return {"loss": total, **losses}

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        inputs = (batch.pixel_values, batch.input_ids, batch.query_index)
        return inputs[0].to(self.device), inputs[1].to(self.device), inputs[2].to(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    @torch.no_grad()
    def _update_average(self) -> None:
        # a short memory at first, else the average is of random weights
        decay = min(self.config.optimizer.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.policy.parameters()), 1 - decay)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Errors of the moving average on held-out episodes: mm, degrees, per cent."""
        translation, rotation, gripper, scene = [], [], [], []
        for frames in np.array_split(self.validation_frames, max(1, len(self.validation_frames) // 128)):
            batch = self.validation.make(frames)
            with self._autocast():
                hidden = self.ema.hidden(*self._inputs(batch))
                outputs = self.ema.head(hidden)
            predicted = self.normalizer.unnormalize(outputs.float().cpu().numpy())
            error = predicted - batch.actions
            valid = batch.valid.numpy()
            translation.append(np.linalg.norm(error[..., :3], axis=-1)[valid])
            rotation.append(np.linalg.norm(error[..., 3:ARM_DIM], axis=-1)[valid])
            gripper.append(((predicted[..., ARM_DIM] > 0.5) == (batch.actions[..., ARM_DIM] > 0.5))[valid])
            if self.scene is not None:
                scene.append(self.scene.error_m(hidden.float(), batch.scene.to(self.device)).cpu().numpy())
        report = {
            "val_translation_mm": 1e3 * float(np.concatenate(translation).mean()),
            "val_rotation_deg": math.degrees(float(np.concatenate(rotation).mean())),
            "val_gripper_percent": 100 * float(np.concatenate(gripper).mean()),
        }
        if scene:
            names = ("val_target_mm", "val_goal_mm", "val_effector_mm")
            report |= dict(zip(names, (1e3 * np.mean(scene, axis=0)).tolist(), strict=True))
        return report

    def _report(self, means: dict[str, float], progress: "tqdm[None]") -> None:
        self.save()
        row = {"step": self.step, **means, **self.validate()}
        metrics = self.config.output / "metrics.jsonl"
        curves.append_metrics(metrics, row)
        curves.plot_metrics(metrics, self.config.output / "curves.png")
        progress.write("  ".join(f"{name} {value:.4g}" for name, value in row.items()))

    def save(self) -> None:
        """Write the checkpoint."""
        groups = {"policy": self.policy.state_dict(), "ema": self.ema.state_dict()}
        if self.scene is not None:
            groups["scene"] = self.scene.state_dict()
        checkpoint.save(self.config.output / checkpoint.FILE_NAME, self.step, groups, self.optimizer, self.companions)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same config."""
        step, groups = checkpoint.load(path)
        self.policy.load_state_dict(groups["policy"])
        self.ema.load_state_dict(groups["ema"])
        if self.scene is not None:
            self.scene.load_state_dict(groups["scene"])
        checkpoint.restore_optimizer(self.optimizer, groups["optimizer"])
        self.step = step
        curves.truncate_metrics(self.config.output / "metrics.jsonl", step)
