"""Figures of an update that all processes of a run agree on."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from vla_ros.errors import VlaRosError
from vla_ros.train import checkpoint


def agree(
    accelerator: Accelerator, figures: Mapping[str, Tensor], wants_to_stop: bool
) -> tuple[dict[str, float], bool]:
    """Means over the processes, and whether one of them wants to stop.

    The one exchange between processes, and the one wait for the GPU, that an update needs beside its gradients.
    """
    stop = torch.tensor(float(wants_to_stop), device=accelerator.device)
    numbers = torch.stack([*(figure.float() for figure in figures.values()), stop])
    *means, stopping = accelerator.reduce(numbers, "mean").tolist()
    return dict(zip(figures, means, strict=True)), stopping > 0


def check_finite(figures: Mapping[str, float], step: int, output: Path) -> None:
    """Refuse NaN and infinity; in every process alike where they have agreed, so that none waits for another.

    Raises:
        VlaRosError: names the figure and the last good checkpoint.
    """
    for name, value in figures.items():
        if not math.isfinite(value):
            raise VlaRosError(
                f"step {step}: {name}: expected a finite number, got {value}; {checkpoint.last_good(output)}"
            )
