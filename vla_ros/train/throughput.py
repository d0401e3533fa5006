"""How fast a run is: samples per second, and what part of the processor's arithmetic that is."""

import time

import torch
from torch import nn
from typing_extensions import Self

from vla_ros.train.config import RunConfig
from vla_ros.train.flops import flops_per_update, peak_flops
from vla_ros.train.task import Batch


class Throughput:
    """A stopwatch over updates of the weights.

    Args:
        samples: of one update.
        flops: floating-point operations of one update; None where they cannot be counted.
        peak: floating-point operations per second that all processes together could do.
    """

    def __init__(self, samples: int, flops: float | None, peak: float) -> None:
        self._samples, self._flops, self._peak = samples, flops, peak
        self.start(0)

    @classmethod
    def measure(cls, config: RunConfig, module: nn.Module, batch: Batch, device: torch.device, processes: int) -> Self:
        """Count the operations of a part of an update and measure what the device can do.

        Args:
            module: not compiled or wrapped yet.
            batch: of one process and pass.
        """
        parts = processes * config.optimizer.accumulation_steps
        flops: float | None
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                flops = flops_per_update(module, batch) * parts
        except RuntimeError:  # e.g. experts, whose work depends on the data; what is really wrong, training will say
            flops = None
        return cls(config.optimizer.batch_size, flops, peak_flops(device, config.precision) * processes)

    def start(self, step: int) -> None:
        """Begin to count, after `step` updates."""
        self._step, self._started = step, time.monotonic()

    def figures(self, step: int) -> dict[str, float]:
        """`samples_per_s` and, if it is known, `mfu_percent` (model FLOP utilisation) since `start`."""
        updates_per_s = (step - self._step) / (time.monotonic() - self._started)
        speed = {"samples_per_s": updates_per_s * self._samples}
        if self._flops is None:
            return speed
        return speed | {"mfu_percent": 100 * updates_per_s * self._flops / self._peak}
