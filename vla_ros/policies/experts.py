"""A mixture of experts as two wide matrix products, for graphs that may not choose by data."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

IMPLEMENTATION = "vla_ros_wide"
"""The name under which transformers' own layers find `run_all_experts`."""


def widen_experts(model: PreTrainedModel) -> None:
    """Let the experts of a model, if it has any, all run on every token; what is not routed to them counts nothing.

    A policy's hundred tokens reach nearly every expert anyhow, and loading their weights is what takes the time; which
    of them count is then a multiplication, and the graph has no index that depends on the data.
    """
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and module._can_set_experts_implementation():
            module.set_experts_implementation(IMPLEMENTATION)


def run_all_experts(experts: nn.Module, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """What transformers' own forward of its experts computes.

    Args:
        experts: with `gate_up_proj` [experts, 2 * width, hidden_size] and `down_proj` [experts, hidden_size, width].
        hidden: float [tokens, hidden_size].
        chosen: int64 [tokens, chosen experts].
        weights: float [tokens, chosen experts].

    Returns:
        float [tokens, hidden_size].
    """
    layer: Any = experts
    count, hidden_size, width = layer.down_proj.shape
    is_chosen = chosen[..., None] == torch.arange(count, device=chosen.device)
    routing = (is_chosen.to(weights.dtype) * weights[..., None]).sum(1)
    gate_up = nn.functional.linear(hidden, layer.gate_up_proj.flatten(0, 1)).unflatten(-1, (count, 2 * width))
    gate, up = gate_up.chunk(2, dim=-1)
    mixed = (layer.act_fn(gate) * up * routing[..., None]).flatten(1)
    # experts side by side: one product sums over them, too
    return nn.functional.linear(mixed, layer.down_proj.transpose(0, 1).reshape(hidden_size, count * width))


ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, run_all_experts)
