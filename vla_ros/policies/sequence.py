"""What stands where: patches, image tokens and ActionQueries at places that need no search."""

from typing import Any

import torch
from torch import Tensor, nn


def embed_patches(projection: nn.Module, pixel_values: Tensor) -> Tensor:
    """Patches [batch, patches, features] through the patch convolution: its stride is its kernel, so it is linear."""
    weight: Any = projection.weight
    bias: Any = projection.bias
    return nn.functional.linear(pixel_values.to(weight.dtype), weight.flatten(1), bias)


def place_image(embeds: Tensor, image_embeds: Tensor, start: int) -> Tensor:
    """Embeddings [batch, tokens, hidden] with the image's [batch, image_tokens, hidden] put in from `start` on."""
    end = start + image_embeds.shape[1]
    return torch.cat([embeds[:, :start], image_embeds.to(embeds.dtype), embeds[:, end:]], dim=1)


def place_queries(embeds: Tensor, query_index: Tensor, queries: Tensor) -> Tensor:
    """Embeddings [batch, tokens, hidden] with the queries put in from `query_index` on."""
    for number, query in enumerate(queries):
        embeds = embeds.where(~_is_at(embeds, query_index + number), query.to(embeds.dtype))
    return embeds


def select_queries(hidden: Tensor, query_index: Tensor, count: int) -> Tensor:
    """The states [batch, count, hidden] that stand from `query_index` on."""
    # sums over one-hot rows: they export as plain matmuls, where gather would need per-row indices
    picked = [(hidden * _is_at(hidden, query_index + number).to(hidden.dtype)).sum(dim=1) for number in range(count)]
    return torch.stack(picked, dim=1)


def _is_at(sequence: Tensor, index: Tensor) -> Tensor:
    positions = torch.arange(sequence.shape[1], device=sequence.device)
    return (positions[None] == index[:, None])[..., None]
