"""The recipe's optimizer: AdamW, a linear warm-up, and an average of the weights where one is wanted."""

import copy
import math

import torch
from torch import Tensor, nn

from vla_ros.train.config import OptimizerConfig

BETA1 = 0.9


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over everything that is trained; norms, biases and queries are not decayed."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(BETA1, config.beta2))


def learning_rate(step: int, config: OptimizerConfig) -> float:
    """Linear warm-up, then constant or a cosine to zero."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


class MovingAverage:
    """An exponential moving average of a module's trained weights.

    Attributes:
        module: the average, a module of its own in evaluation mode.
    """

    def __init__(self, module: nn.Module, decay: float, device: torch.device) -> None:
        self.module = copy.deepcopy(module).to(device).eval()
        self._decay = decay
        self._trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the weights that `module` has after update `step`, counted from 0."""
        # a short memory at first, else the average is of random weights
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._select(self.module), self._select(module), 1 - decay)

    def _select(self, module: nn.Module) -> list[Tensor]:
        parameters = dict(module.named_parameters())
        return [parameters[name] for name in self._trained]
