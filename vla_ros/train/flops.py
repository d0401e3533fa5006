"""Floating-point operations of an update, and how many of them a device could do: model FLOP utilisation."""

import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from vla_ros.train.task import Batch

MATRIX_SIDE = {"cpu": 1024, "cuda": 8192}
"""Large enough that the matrices' product, not its launch, is measured."""
PEAK_REPEATS = 10


def flops_per_update(module: nn.Module, batch: Batch) -> float:
    """Operations of one forward and backward pass of `module(**batch)["loss"]`; a multiply-add is two.

    Counted are matrix products, convolutions and fused attention, as PyTorch's counter knows them; elementwise work and
    the optimizer are not. Under gradient checkpointing what is computed twice counts twice. Nothing is computed and
    `module` stays as it is: the pass runs on tensors without data.

    Args:
        module: before it is compiled or wrapped for several processes.
        batch: the samples of one process and pass; for a whole update multiply by processes and accumulation steps.
    """
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    tensors = {**_fake(fake, dict(module.named_parameters())), **_fake(fake, dict(module.named_buffers()))}
    inputs = _fake(fake, batch)
    with fake, FlopCounterMode(display=False) as counter:
        losses: dict[str, Tensor] = torch.func.functional_call(module, tensors, kwargs=inputs)
        losses["loss"].backward()
    return float(counter.get_total_flops())


def _fake(mode: FakeTensorMode, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: mode.from_tensor(tensor) for name, tensor in tensors.items()}


def peak_flops(device: torch.device, precision: str) -> float:
    """What the device does at best per second in this precision, measured by the product of two large matrices.

    A data sheet's number is higher; this one knows clocks, power limits and the threads that PyTorch may use.

    Args:
        precision: `bf16` or `fp32`.
    """
    side = MATRIX_SIDE[device.type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best_s = min(_seconds(left, right) for _ in range(PEAK_REPEATS))
    return 2 * side**3 / best_s


def _seconds(left: Tensor, right: Tensor) -> float:
    _wait(left.device)
    started = time.perf_counter()
    torch.matmul(left, right)
    _wait(left.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
