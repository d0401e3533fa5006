"""What Qwen2.5-VL and Qwen3-VL share: transformers' own modules and weights, run on one fixed image grid.

transformers' forward finds image positions, splits attention and scatters features by data-dependent indexing,
which neither exports to a static graph nor batches well. Here the same modules are called in the same order with
everything that follows from the fixed grid computed once. `test/policies/test_compliance.py` holds the result equal to
the unmodified forward.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_position_ids

from vla_ros.contract import ImageSpec
from vla_ros.errors import ConfigError
from vla_ros.policies.attention import attend, causal_mask
from vla_ros.policies.backbone import Backbone, Layout

Mix = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
"""Attention's module and its query, key and value [batch, patches, heads, head_dim] to values that saw each other."""


class QwenBackbone(Backbone):
    """Causal attention; image tokens at a fixed place, their position by row and column where the recipe says so."""

    vision_cos: Tensor
    vision_sin: Tensor

    def __init__(self, model: PreTrainedModel, layout: Layout) -> None:
        super().__init__(model, layout)
        _check_sizes(model.config, layout.image)
        positions = get_vision_position_ids(self.grid, layout.image.merge_size)
        rotary: Any = self.vision_encoder.rotary_pos_emb
        cos, sin = rotary(rotary.inv_freq, positions.to(rotary.inv_freq.device))
        self.register_buffer("vision_cos", cos, persistent=False)
        self.register_buffer("vision_sin", sin, persistent=False)

    @property
    def grid(self) -> Tensor:
        """transformers' `image_grid_thw` of every image, int64 [1, 3]: frames, rows and columns of patches."""
        side = self.layout.image.patches_per_side
        return torch.tensor([[1, side, side]], device="cpu")

    @property
    def vision_encoder(self) -> nn.Module:
        """The vision transformer with its mergers."""
        return self.model.get_submodule("visual")

    @property
    def language_model(self) -> nn.Module:
        """The decoder."""
        return self.model.get_submodule("language_model")

    def run_vision_block(self, block: Any, hidden: Tensor, mix: Mix) -> Tensor:
        """One block of the vision transformer on patches [batch, patches, width], that see each other through `mix`."""
        hidden = hidden + self._attend(block.attn, block.norm1(hidden), mix)
        output: Tensor = hidden + block.mlp(block.norm2(hidden))
        return output

    def _attend(self, attention: Any, hidden: Tensor, mix: Mix) -> Tensor:
        qkv = attention.qkv(hidden).unflatten(-1, (3, attention.num_heads, -1))
        query, key, value = qkv.unbind(2)
        query, key = apply_rotary_pos_emb_vision(query, key, self.vision_cos, self.vision_sin)
        output: Tensor = attention.proj(mix(attention, query, key, value).flatten(2))
        return output

    def decode(self, embeds: Tensor, added: list[Tensor], past: int = 0) -> Tensor:
        """See `Backbone.decode`."""
        decoder: Any = self.language_model
        tokens, start = embeds.shape[1], self.layout.image_start - past
        rotary = decoder.rotary_emb(embeds, self._positions(past + tokens, embeds.device)[..., past : past + tokens])
        mask = causal_mask(embeds, past)
        around = (0, 0, start, tokens - start - self.layout.image.image_tokens)
        hidden = embeds
        for index, layer in enumerate(decoder.layers):
            hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary)
            if index < len(added):
                hidden = hidden + nn.functional.pad(added[index].to(hidden.dtype), around)
        output: Tensor = decoder.norm(hidden)
        return output

    def _positions(self, tokens: int, device: torch.device) -> Tensor:
        """Positions [3, 1, tokens] (time, row, column), as transformers' `get_rope_index` gives them for `mrope`."""
        sequence = torch.arange(tokens, device=device).expand(3, -1)
        if self.layout.recipe.qwen_image_positions == "sequential":
            return sequence[:, None]
        start, side = self.layout.image_start, self.layout.image.patches_per_side // self.layout.image.merge_size
        cell = torch.arange(side * side, device=device)
        image = start + torch.stack([torch.zeros_like(cell), cell // side, cell % side])
        after = sequence[:, start + side * side :] - side * side + side
        return torch.cat([sequence[:, :start], image, after], dim=1)[:, None]


def mix_all(attention: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """A `Mix` in which every patch sees every other, but for what `mask` [batch, 1, 1, patches] takes out."""
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))
    return attend(attention, query, key, value, mask, attention.scaling)[0]


def _check_sizes(config: Any, image: ImageSpec) -> None:
    vision = config.vision_config
    expected = {
        "out_hidden_size": (config.text_config.hidden_size, "text_config.hidden_size"),
        "patch_size": (image.patch_size_px, "image.patch_size_px"),
        "spatial_merge_size": (image.merge_size, "image.merge_size"),
        "temporal_patch_size": (image.temporal_patch_size, "image.temporal_patch_size"),
    }
    for name, (value, source) in expected.items():
        if getattr(vision, name) != value:
            raise ConfigError(f"vision_config.{name}: expected {value} as {source}, got {getattr(vision, name)}")
    text = config.text_config
    angles = (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads) // 2
    section = text.rope_parameters.get("mrope_section", (64,))  # transformers' default is for heads of 128
    if sum(section) != angles:
        raise ConfigError(
            f"text_config.rope_parameters.mrope_section: expected a sum of {angles}, half of a head's width, got "
            f"{sum(section)}"
        )
