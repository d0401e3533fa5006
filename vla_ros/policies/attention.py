"""The one decision how attention is computed, for every tower of every family."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

IMPLEMENTATION = "vla_ros"
"""The name under which transformers' own layers find `attend`."""
PREFIX_KEY, PREFIX_VALUE = "prefix_key", "prefix_value"
"""Buffers of an attention that keeps what stands in front of every sequence; see `Backbone.keep_prefix`."""


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Fused kernels on a GPU; explicit matmuls elsewhere.

    On the CPU the fused kernel's backward costs more at a policy's lengths, and matmuls export to ONNX as they are.

    Args:
        module: transformers' attention; its `is_causal` holds where there is no mask.
        query: float [batch, heads, tokens, head_dim].
        key, value: float [batch, key_value_heads, tokens, head_dim].
        attention_mask: float, added to the scores [batch, heads, tokens, tokens]; see `causal_mask`.
        softcap: bounds the scores to +- itself (Gemma 2), which no fused kernel of torch's does.
        unused: what transformers' layers say to other implementations.

    Returns:
        float [batch, tokens, heads, head_dim], and no weights.
    """
    if PrefixRecorder.is_active:
        module.register_buffer(PREFIX_KEY, key, persistent=False)
        module.register_buffer(PREFIX_VALUE, value, persistent=False)
    elif (prefix_key := getattr(module, PREFIX_KEY, None)) is not None:
        key = torch.cat([_like(prefix_key, key), key], dim=2)
        value = torch.cat([_like(getattr(module, PREFIX_VALUE), value), value], dim=2)
    if _is_fused(query) and softcap is None and key.shape[2] == query.shape[2]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling)
    if attention_mask is None and getattr(module, "is_causal", False):
        attention_mask = _lower_triangle(query, key.shape[2] - query.shape[2])
    key, value = (_repeat(states, query.shape[1] // states.shape[1]) for states in (key, value))
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


def causal_mask(embeds: Tensor, past: int = 0) -> Tensor | None:
    """The `attention_mask` of causal layers for embeddings [batch, tokens, hidden] behind `past` others.

    None on a GPU, where the kernel that needs no mask is the faster one; else it is made once for all layers.
    """
    return None if _is_fused(embeds) else _lower_triangle(embeds, past)


class PrefixRecorder:
    """While it is entered, every attention keeps its keys and values, and puts them in front of all later ones."""

    is_active: ClassVar = False

    def __enter__(self) -> None:
        PrefixRecorder.is_active = True

    def __exit__(self, *_: object) -> None:
        PrefixRecorder.is_active = False


def _is_fused(states: Tensor) -> bool:
    return states.is_cuda


def _lower_triangle(states: Tensor, past: int) -> Tensor:
    tokens = states.shape[-2]
    lowest = torch.finfo(states.dtype).min
    mask = torch.full((tokens, past + tokens), lowest, dtype=states.dtype, device=states.device).triu(past + 1)
    return mask[None, None]


def _like(prefix: Tensor, states: Tensor) -> Tensor:
    """Keys or values of the prefix [1, heads, past, head_dim] for each sample of a batch."""
    return prefix.to(states.dtype).expand(len(states), -1, -1, -1)


def _repeat(states: Tensor, times: int) -> Tensor:
    """Each key-value head as often as query heads share it."""
    if times == 1:
        return states
    return states[:, :, None].expand(-1, -1, times, -1, -1).flatten(1, 2)


AttentionInterface.register(IMPLEMENTATION, attend)
