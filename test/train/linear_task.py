"""The smallest thing that the training loop trains: a line through points, as a task of its own."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vla_ros.train.config import OptimizerConfig, RunConfig
from vla_ros.train.task import Batch


class LinearModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> dict[str, Tensor]:
        outputs = self.layers(inputs)
        if targets is None:
            return {"outputs": outputs}
        loss = nn.functional.mse_loss(outputs, targets)
        return {"loss": loss, "square": loss}


@dataclass
class Points:
    """Points of update `step`, drawn from (seed, step) as a whole and then cut into parts."""

    batch_size: int
    bad_step: int | None = None

    def batch(self, step: int, part: int, parts: int) -> Batch:
        inputs = np.random.default_rng((7, step)).normal(size=(self.batch_size, 3)).astype(np.float32)
        targets = inputs.sum(axis=1, keepdims=True)
        if step == self.bad_step:
            targets[:] = np.nan
        size = self.batch_size // parts
        rows = slice(part * size, (part + 1) * size)
        return {"inputs": torch.from_numpy(inputs[rows]), "targets": torch.from_numpy(targets[rows])}


@dataclass
class LinearTask:
    train: Points
    module: nn.Module = field(default_factory=LinearModule)
    better: str = "val_error_mm"
    companions: dict[str, str] = field(default_factory=lambda: {"notes.txt": "a line"})

    def validate(self, module: nn.Module) -> dict[str, float]:
        batch = self.train.batch(10**6, 0, 1)
        outputs = module(inputs=batch["inputs"])["outputs"]
        return {"val_error_mm": (outputs - batch["targets"]).abs().mean().item()}


def run_config(output: Path, **changes: object) -> RunConfig:
    optimizer = {
        "steps": 6,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "warmup_steps": 1,
        "schedule": "cosine",
        "weight_decay": 0.05,
        "gradient_clip": 1.0,
        "ema_decay": 0.9,
    }
    fields: dict[str, object] = {
        "name": "line",
        "output": output,
        "seed": 3,
        "device": "cpu",
        "precision": "fp32",
        "validate_every": 2,
    }
    for name, value in changes.items():
        (optimizer if name in OptimizerConfig.__dataclass_fields__ else fields)[name] = value
    return RunConfig(**fields, optimizer=OptimizerConfig(**optimizer))  # type: ignore[arg-type]
