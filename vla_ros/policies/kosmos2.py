"""Kosmos-2: CLIP's patches are resampled to a fixed number of latents, which stand among the words.

transformers' own modules and weights, on one fixed image grid; `test/policies/test_compliance.py` holds the result
equal to the unmodified forward.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import Kosmos2Model, PreTrainedModel

from vla_ros.contract import ImageSpec
from vla_ros.errors import ConfigError
from vla_ros.policies.attention import causal_mask
from vla_ros.policies.backbone import Backbone, Layout
from vla_ros.policies.sequence import embed_patches


class Kosmos2Backbone(Backbone):
    """Causal attention; where the latents stand follows from the prompt, that is from the recipe's `kosmos_image`."""

    architectures: ClassVar = {"kosmos-2": Kosmos2Model}

    def __init__(self, model: PreTrainedModel, layout: Layout) -> None:
        super().__init__(model, layout)
        _check_sizes(model.config, layout.image)
        projection: Any = model.image_to_text_projection
        # latents see every patch, and each other; before transformers 5.23 its fused attention made them causal
        projection.x_attn.is_causal = False

    @property
    def vision_encoder(self) -> nn.Module:
        """CLIP without the resampling to latents."""
        model: Any = self.model
        tower: nn.Module = model.vision_model
        return tower

    @property
    def language_model(self) -> nn.Module:
        """The decoder."""
        model: Any = self.model
        decoder: nn.Module = model.text_model.model
        return decoder

    def encode_image(self, pixel_values: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See `Backbone.encode_image`; nothing is added later."""
        model: Any = self.model
        tower = model.vision_model.model
        patches = embed_patches(tower.embeddings.patch_embedding, pixel_values)
        summary = tower.embeddings.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        hidden = torch.cat([summary, patches], dim=1)
        hidden = tower.pre_layrnorm(hidden + tower.embeddings.position_embedding.weight.to(hidden.dtype))
        for layer in tower.encoder.layers:
            hidden = layer(hidden, None)
        # CLIP's norm for its summary, here of every patch
        features = nn.functional.normalize(tower.post_layernorm(hidden), dim=-1)
        latents: Tensor = model.image_to_text_projection(features)[0]
        return latents, []

    def decode(self, embeds: Tensor, added: list[Tensor], past: int = 0) -> Tensor:
        """See `Backbone.decode`."""
        decoder: Any = self.language_model
        # words, latents and ActionQueries are all multiplied by sqrt(hidden_size)
        hidden = embeds * decoder.embed_scale + self._positions(embeds, past)
        for _ in range(2):  # transformers drops out its embeddings twice
            hidden = nn.functional.dropout(hidden, p=decoder.dropout, training=self.training)
        mask = causal_mask(embeds, past)
        for layer in decoder.layers:
            hidden = layer(hidden, attention_mask=mask)
        output: Tensor = decoder.layer_norm(hidden)
        return output

    def _positions(self, embeds: Tensor, past: int) -> Tensor:
        """Sinusoids [tokens, hidden_size]; the first place is counted behind that of the padding token's id."""
        table: Any = self.language_model.embed_positions
        first, tokens = table.padding_idx + 1 + past, embeds.shape[1]
        if first + tokens > len(table.weights):
            most = len(table.weights) - first
            raise ConfigError(f"text_config.max_position_embeddings: expected room for {tokens} tokens, got {most}")
        positions: Tensor = table.weights[first : first + tokens].to(embeds.dtype)
        return positions


def _check_sizes(config: Any, image: ImageSpec) -> None:
    text, vision = config.text_config, config.vision_config
    expected = {
        "vision_config.patch_size": (vision.patch_size, image.patch_size_px, "image.patch_size_px"),
        "vision_config.image_size": (vision.image_size, image.final_px, "the image's pixels"),
        "latent_query_num": (config.latent_query_num, image.image_tokens, "the image's tokens"),
        "text_config.add_cross_attention": (text.add_cross_attention, False, "nothing is attended to across"),
        "text_config.layerdrop": (text.layerdrop, 0, "every layer runs"),
        "image.merge_size": (image.merge_size, 1, "patches are not merged"),
        "image.temporal_patch_size": (image.temporal_patch_size, 1, "images are not repeated in time"),
    }
    for name, (value, wanted, source) in expected.items():
        if value != wanted:
            raise ConfigError(f"{name}: expected {wanted} ({source}), got {value}")
