"""How a linear layer's numbers are stored: integers or 8-bit floats, and the scales that give them back.

The formulas stand here once, for the graph that is written and for the rehearsal in torch that finds the layers which
quantisation hurts. All are symmetric: TensorRT takes no zero points, and OpenVINO and ONNX Runtime need none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

INT8_MOST = 127.0
INT4_MOST = 7.0
FP8_MOST = 448.0
CLIPS = (1.0, 0.92, 0.84, 0.76)
"""Shares of a block's largest weight that 4-bit blocks are tried with: a clipped outlier can make the rest finer."""


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """A weight [inputs, outputs] in few bits.

    Attributes:
        values: int8 or float8 [inputs, outputs]; four-bit integers as int8 in [-7, 7].
        scale: float32 [outputs], or [blocks, outputs] where each block of inputs has its own.
    """

    values: Tensor
    scale: Tensor

    def dequantize(self) -> Tensor:
        """The weight that it stands for, float32 [inputs, outputs]."""
        values = self.values.float()
        if self.scale.ndim == 1:
            return values * self.scale
        blocks = values.unflatten(0, (len(self.scale), -1))
        return (blocks * self.scale[:, None]).flatten(0, 1)


def to_int8(weight: Tensor) -> QuantizedWeight:
    """One scale per output, from its largest weight."""
    weight = weight.float()
    scale = _positive(weight.abs().amax(0) / INT8_MOST)
    return QuantizedWeight((weight / scale).round().clamp(-INT8_MOST, INT8_MOST).to(torch.int8), scale)


def to_fp8(weight: Tensor) -> QuantizedWeight:
    """E4M3, one scale per output, from its largest weight."""
    weight = weight.float()
    scale = _positive(weight.abs().amax(0) / FP8_MOST)
    return QuantizedWeight((weight / scale).clamp(-FP8_MOST, FP8_MOST).to(torch.float8_e4m3fn), scale)


def to_int4(weight: Tensor, power: Tensor, block_size: int) -> QuantizedWeight:
    """One scale per output and block of inputs, the one of CLIPS that changes the layer's output least.

    Args:
        power: sum of squares of each input on the calibration frames [inputs]: what an error in its weight costs.
        block_size: divides the inputs.
    """
    blocks = weight.float().unflatten(0, (-1, block_size))  # sums of squares of powers leave float16's range
    cost = power.unflatten(0, (-1, block_size))[..., None]
    largest = _positive(blocks.abs().amax(1, keepdim=True) / INT4_MOST)
    best = torch.full_like(largest, torch.inf)
    scale = largest.clone()
    for clip in CLIPS:
        tried = largest * clip
        error = (_round(blocks, tried, INT4_MOST) * tried - blocks).square().mul_(cost).sum(1, keepdim=True)
        scale = torch.where(error < best, tried, scale)
        best = torch.minimum(best, error)
    return QuantizedWeight(_round(blocks, scale, INT4_MOST).flatten(0, 1).to(torch.int8), scale[:, 0])


def smoothing(peak: Tensor, weight_peak: Tensor, strength: float) -> Tensor:
    """What each input channel is divided by, and its weights multiplied with (SmoothQuant, arXiv 2211.10438, eq. 4).

    Args:
        peak: largest magnitude of each input channel [inputs].
        weight_peak: largest magnitude of its weights [inputs].
        strength: 0 leaves all that is hard with the inputs, 1 moves it to the weights.

    Returns:
        float32 [inputs], > 0; 1 where a channel is always zero.
    """
    is_used = (peak > 0) & (weight_peak > 0)
    factors = peak.clamp_min(1e-5) ** strength / weight_peak.clamp_min(1e-5) ** (1 - strength)
    factors = factors / factors[is_used].log().mean().exp() if is_used.any() else factors
    return torch.where(is_used, factors, 1.0).clamp(1e-3, 1e3)


def _round(weight: Tensor, scale: Tensor, most: float) -> Tensor:
    return (weight / scale).round_().clamp_(-most, most)


def _positive(scale: Tensor) -> Tensor:
    """A scale of zero, of weights that are all zero, would give NaN."""
    return torch.where(scale > 0, scale, 1.0)
