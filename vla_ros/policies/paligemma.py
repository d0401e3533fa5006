"""PaliGemma 1 and 2: SigLIP's patches stand in front of the prompt of Gemma or Gemma 2.

transformers' own modules and weights, on one fixed image grid; `test/policies/test_compliance.py` holds the result
equal to the unmodified forward.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PaliGemmaModel, PreTrainedModel

from vla_ros.contract import ImageSpec
from vla_ros.errors import ConfigError
from vla_ros.policies.backbone import Backbone, Layout
from vla_ros.policies.sequence import embed_patches

TEXT_MODELS = ("gemma", "gemma2")
VISION_MODELS = ("siglip_vision_model",)


class PaliGemmaBackbone(Backbone):
    """The image is a prefix whose tokens see each other, where the recipe says so; all else is causal.

    transformers feeds whole prompts bidirectionally; the paper does so with the image alone.
    """

    # Gemma 2 is another `model_type` of the config's `text_config`, not of the config
    architectures: ClassVar = {"paligemma": PaliGemmaModel}

    def __init__(self, model: PreTrainedModel, layout: Layout) -> None:
        super().__init__(model, layout)
        _check_sizes(model.config, layout.image)

    @property
    def vision_encoder(self) -> nn.Module:
        """SigLIP without the projection to the language model."""
        model: Any = self.model
        tower: nn.Module = model.vision_tower
        return tower

    @property
    def language_model(self) -> nn.Module:
        """The decoder."""
        model: Any = self.model
        decoder: nn.Module = model.language_model
        return decoder

    def embed_queries(self, queries: Tensor) -> Tensor:
        """Times sqrt(hidden_size), as Gemma does with all embeddings and transformers as it looks words up."""
        words: Any = self.word_embeddings
        scaled: Tensor = queries * words.embed_scale
        return scaled

    def _image_scale(self) -> float:
        """1, as what Gemma multiplies is not to change the image: earlier transformers divided it by as much before.

        The authors divide by the square root of `config.hidden_size`, Gemma multiplies by that of the text config's.
        """
        if self.layout.recipe.paligemma_image_width == "text":
            return 1.0
        config: Any = self.model.config
        return float((self.hidden_size / config.hidden_size) ** 0.5)

    def encode_image(self, pixel_values: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See `Backbone.encode_image`; nothing is added later."""
        model: Any = self.model
        tower = model.vision_tower
        hidden = embed_patches(tower.embeddings.patch_embedding, pixel_values)
        hidden = hidden + tower.embeddings.position_embedding.weight.to(hidden.dtype)
        for layer in tower.encoder.layers:
            hidden = layer(hidden, None)
        projected: Tensor = model.multi_modal_projector(tower.post_layernorm(hidden))
        return projected * self._image_scale(), []

    def decode(self, embeds: Tensor, added: list[Tensor], past: int = 0) -> Tensor:
        """See `Backbone.decode`."""
        decoder: Any = self.language_model
        tokens = past + embeds.shape[1]
        window = getattr(decoder.config, "sliding_window", None)
        if window is not None and tokens > window:
            raise ConfigError(f"text_config.sliding_window: expected >= {tokens}, the prompt's tokens, got {window}")
        # PaliGemma counts from one
        positions = torch.arange(1 + past, tokens + 1, device=embeds.device)[None]
        rotary = decoder.rotary_emb(embeds, positions)
        mask = self._mask(embeds, past)
        hidden = embeds
        for layer in decoder.layers:
            hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary)
        output: Tensor = decoder.norm(hidden)
        return output

    def _mask(self, embeds: Tensor, past: int) -> Tensor:
        """Added to the scores [1, 1, tokens, past + tokens]; never None: these layers are not causal alone."""
        position = torch.arange(past + embeds.shape[1], device=embeds.device)
        is_seen = position[None] <= position[:, None]
        if self.layout.recipe.paligemma_prefix == "bidirectional":
            start = self.layout.image_start
            is_image = (position >= start) & (position < start + self.layout.image.image_tokens)
            is_seen = is_seen | (is_image[None] & is_image[:, None])
        lowest = torch.finfo(embeds.dtype).min
        mask = torch.zeros_like(is_seen, dtype=embeds.dtype).masked_fill(~is_seen, lowest)
        return mask[None, None, past:]


def _check_sizes(config: Any, image: ImageSpec) -> None:
    text, vision = config.text_config, config.vision_config
    for part, known in ((text, TEXT_MODELS), (vision, VISION_MODELS)):
        if part.model_type not in known:
            where = "text_config" if part is text else "vision_config"
            raise ConfigError(f"{where}.model_type: expected {' or '.join(known)}, got {part.model_type}")
    has_head = getattr(vision, "vision_use_head", True)
    expected = {
        "projection_dim": (config.projection_dim, text.hidden_size, "text_config.hidden_size"),
        "vision_config.patch_size": (vision.patch_size, image.patch_size_px, "image.patch_size_px"),
        "vision_config.image_size": (vision.image_size, image.final_px, "the image's pixels"),
        "vision_config.vision_use_head": (has_head, False, "nothing reads the pooled image"),
        "image.merge_size": (image.merge_size, 1, "each patch is a token"),
        "image.temporal_patch_size": (image.temporal_patch_size, 1, "images are not repeated in time"),
        "image.resampled_tokens": (image.resampled_tokens, None, "each patch is a token"),
    }
    for name, (value, wanted, source) in expected.items():
        if value != wanted:
            raise ConfigError(f"{name}: expected {wanted} ({source}), got {value}")
