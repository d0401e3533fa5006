"""Which linear layer is stored how, from what was seen on real frames."""

from fnmatch import fnmatchcase
from functools import partial

import onnx_ir as ir
import torch
from torch import Tensor

from vla_ros.errors import ConfigError
from vla_ros.export import quantize
from vla_ros.export.calibration import Observer
from vla_ros.export.config import ExportConfig
from vla_ros.export.linear import LinearLayer
from vla_ros.export.lowering import Plan, Quantization, groups_by_input

FLOATS = ("fp32", "fp16", "bf16")
SCHEMES = {
    "int8": (quantize.to_int8, ir.DataType.INT8, quantize.INT8_MOST),
    "fp8": (quantize.to_fp8, ir.DataType.FLOAT8E4M3FN, quantize.FP8_MOST),
}


def make_plan(layers: list[LinearLayer], seen: Observer, config: ExportConfig) -> Plan:
    """The plan that a config asks for.

    Args:
        layers: of the traced graph.
        seen: what reached them, in the same order.

    Raises:
        ConfigError: a pattern of `keep` matches no layer.
    """
    plan = Plan(layers={}, smoothing={})
    if config.precision in FLOATS:
        return plan
    kept = _kept(layers, config.keep)
    # both are in the order of running; a layer more or less would give every later one another's ranges
    assert [len(peak) for peak in seen.peaks] == [layer.shape[0] for layer in layers]
    numbers = {layer.name: number for number, layer in enumerate(layers)}
    for group in groups_by_input(layers):
        chosen = [layer for layer in group if layer.name not in kept]
        if not chosen:
            continue
        number = numbers[group[0].name]
        if config.precision == "int4":
            _plan_weights(plan, chosen, seen.powers[number], config.block_size)
        else:
            _plan_products(plan, group, chosen, seen.peaks[number], config)
    return plan


def _kept(layers: list[LinearLayer], patterns: tuple[str, ...]) -> set[str]:
    kept: set[str] = set()
    for pattern in patterns:
        matched = {layer.name for layer in layers if fnmatchcase(layer.name, pattern)}
        if not matched:
            known = ", ".join(layer.name for layer in layers[:3])
            raise ConfigError(f"keep: expected patterns of linear layers such as {known}, got {pattern!r}")
        kept |= matched
    return kept


def _plan_weights(plan: Plan, chosen: list[LinearLayer], power: Tensor, block_size: int) -> None:
    """Four bits; a layer whose inputs are no multiple of the block stays as it is, and is reported as kept."""
    for layer in chosen:
        if layer.shape[0] % block_size == 0:
            weight = partial(quantize.to_int4, power=power, block_size=block_size)
            plan.layers[layer.name] = Quantization(weight, ir.DataType.INT4, block_size)


def _plan_products(
    plan: Plan, group: list[LinearLayer], chosen: list[LinearLayer], peak: Tensor, config: ExportConfig
) -> None:
    """Eight bits for inputs and weights."""
    round_weight, dtype, most = SCHEMES[config.precision]
    if config.smoothing > 0:
        weight_peak = torch.stack([layer.weight().abs().amax(1).float() for layer in group]).amax(0)
        factors = quantize.smoothing(peak, weight_peak, config.smoothing)
        plan.smoothing.update({layer.name: factors for layer in group})
        peak = peak / factors
    scale = float(peak.max()) / most or 1.0  # an input that is always zero needs no particular scale
    for layer in chosen:
        plan.layers[layer.name] = Quantization(round_weight, dtype, input_scale=scale)
