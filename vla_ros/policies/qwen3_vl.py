"""Qwen3-VL: transformers' own modules and weights, run on one fixed image grid.

transformers' forward finds image positions, splits attention and scatters features by data-dependent indexing,
which neither exports to a static graph nor batches well. Here the same modules are called in the same order with
everything that follows from the fixed grid computed once. `test/policies/test_qwen3_vl.py` holds the result equal to
the unmodified forward.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen3VLConfig, Qwen3VLModel
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig, Qwen3VLVisionConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionAttention, apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

from vla_ros.contract import ImageSpec
from vla_ros.errors import ConfigError
from vla_ros.policies.backbone import Backbone


class Qwen3VLBackbone(Backbone):
    """One image, one prompt, one ActionQuery; causal attention; image tokens at a fixed place."""

    interpolation_indices: Tensor
    interpolation_weights: Tensor
    vision_cos: Tensor
    vision_sin: Tensor

    def __init__(self, config: Qwen3VLConfig, image: ImageSpec, image_start: int) -> None:
        super().__init__()
        # explicit matmul attention: the fused CPU kernel's backward costs more at these lengths, and this one exports
        self.model = Qwen3VLModel._from_config(config, attn_implementation="eager")
        self.hidden_size: int = self.model.language_model.config.hidden_size
        self.image_start = image_start
        self.image_tokens = image.image_tokens
        self.tokens_per_side = image.patches_per_side // image.merge_size
        self._add_grid_constants(image)

    @classmethod
    def from_scratch(cls, config: dict[str, Any], image: ImageSpec, image_start: int) -> "Qwen3VLBackbone":
        """Random weights; `config` holds `text_config` and `vision_config` as Qwen3VLConfig takes them."""
        _check_fields(config, Qwen3VLConfig, "")
        _check_fields(config.get("text_config", {}), Qwen3VLTextConfig, "text_config.")
        _check_fields(config.get("vision_config", {}), Qwen3VLVisionConfig, "vision_config.")
        built = Qwen3VLConfig(**config)
        text: Any = built.text_config
        vision: Any = built.vision_config
        if vision.out_hidden_size != text.hidden_size:
            raise ConfigError(
                f"vision_config.out_hidden_size: expected {text.hidden_size} as text_config.hidden_size, "
                f"got {vision.out_hidden_size}"
            )
        return cls(built, image, image_start)

    def _add_grid_constants(self, image: ImageSpec) -> None:
        visual = self.model.visual
        grid = torch.tensor([[1, image.patches_per_side, image.patches_per_side]])
        indices, weights = get_vision_interpolation_indices_and_weights(
            grid,
            num_grid_per_side=visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=visual.spatial_merge_size,
        )
        positions = get_vision_position_ids(grid, visual.spatial_merge_size)
        cos, sin = visual.rotary_pos_emb(torch.zeros(1), positions)
        self.register_buffer("interpolation_indices", indices, persistent=False)
        self.register_buffer("interpolation_weights", weights[..., None], persistent=False)
        self.register_buffer("vision_cos", cos, persistent=False)
        self.register_buffer("vision_sin", sin, persistent=False)

    def forward(self, pixel_values: Tensor, input_ids: Tensor, query_index: Tensor, query: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        image_embeds, deepstack = self._encode_image(pixel_values)
        embeds = self.model.language_model.embed_tokens(input_ids)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        is_query = positions[None] == query_index[:, None]
        embeds = torch.where(is_query[..., None], query.to(embeds.dtype), embeds)
        embeds = self._place_image(embeds, image_embeds.to(embeds.dtype))
        hidden = self._decode(embeds, deepstack)
        # a sum over one-hot rows: exports as a plain matmul, where gather would need per-row indices
        return (hidden * is_query[..., None].to(hidden.dtype)).sum(dim=1)

    def _encode_image(self, pixel_values: Tensor) -> tuple[Tensor, list[Tensor]]:
        visual = self.model.visual
        batch = len(pixel_values)
        projection = visual.patch_embed.proj
        # the convolution's stride is its kernel: on patches it is a linear map
        weight = projection.weight.reshape(projection.weight.shape[0], -1)
        hidden = nn.functional.linear(pixel_values.to(weight.dtype), weight, projection.bias)
        position = (visual.pos_embed(self.interpolation_indices) * self.interpolation_weights).sum(1)
        hidden = hidden + position.to(hidden.dtype)
        deepstack = []
        for index, block in enumerate(visual.blocks):
            hidden = hidden + self._attend(block.attn, block.norm1(hidden))
            hidden = hidden + block.mlp(block.norm2(hidden))
            if index in visual.deepstack_visual_indexes:
                merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(index)]
                deepstack.append(merger(hidden.flatten(0, 1)).unflatten(0, (batch, -1)))
        return visual.merger(hidden.flatten(0, 1)).unflatten(0, (batch, -1)), deepstack

    def _attend(self, attention: Qwen3VLVisionAttention, hidden: Tensor) -> Tensor:
        batch, patches, width = hidden.shape
        qkv = attention.qkv(hidden).reshape(batch, patches, 3, attention.num_heads, -1)
        query, key, value = qkv.unbind(2)
        query, key = apply_rotary_pos_emb_vision(query, key, self.vision_cos, self.vision_sin)
        query, key, value = (states.transpose(1, 2) for states in (query, key, value))
        scores = torch.matmul(query, key.transpose(2, 3)) * attention.scaling
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
        mixed = torch.matmul(weights, value).transpose(1, 2).reshape(batch, patches, width)
        output: Tensor = attention.proj(mixed)
        return output

    def _place_image(self, embeds: Tensor, image_embeds: Tensor) -> Tensor:
        end = self.image_start + self.image_tokens
        return torch.cat([embeds[:, : self.image_start], image_embeds, embeds[:, end:]], dim=1)

    def _decode(self, embeds: Tensor, deepstack: list[Tensor]) -> Tensor:
        language_model = self.model.language_model
        tokens = embeds.shape[1]
        rotary = language_model.rotary_emb(embeds, self._positions(tokens, embeds.device))
        lowest = torch.finfo(embeds.dtype).min
        mask = torch.full((tokens, tokens), lowest, dtype=embeds.dtype, device=embeds.device).triu(1)[None, None]
        after = tokens - self.image_start - self.image_tokens
        hidden = embeds
        for index, layer in enumerate(language_model.layers):
            hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary)
            if index < len(deepstack):
                padding = (0, 0, self.image_start, after)
                hidden = hidden + nn.functional.pad(deepstack[index].to(hidden.dtype), padding)
        output: Tensor = language_model.norm(hidden)
        return output

    def _positions(self, tokens: int, device: torch.device) -> Tensor:
        """Interleaved M-RoPE positions [3, 1, tokens] (time, row, column) as transformers' `get_rope_index`."""
        side, start = self.tokens_per_side, self.image_start
        before = torch.arange(start, device=device).expand(3, -1)
        cell = torch.arange(side * side, device=device)
        image = start + torch.stack([torch.zeros_like(cell), cell // side, cell % side])
        after = torch.arange(tokens - start - side * side, device=device).expand(3, -1) + start + side
        return torch.cat([before, image, after], dim=1)[:, None]


def _check_fields(values: Any, config: type, where: str) -> None:
    """Refuse what transformers would take in silence: a misspelt field leaves the default of a far larger model."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where.rstrip('.')}: expected a mapping, got {type(values).__name__} {values!r}")
    known = [field.name for field in dataclasses.fields(config)]
    for name in values:
        if name not in known:
            raise ConfigError(f"{where}{name}: expected one of {', '.join(known)}, got {name!r}")
