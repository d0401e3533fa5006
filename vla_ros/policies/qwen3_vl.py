"""Qwen3-VL, dense and mixture of experts: interpolated position embeddings, DeepStack."""

from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel, Qwen3VLModel, Qwen3VLMoeModel
from transformers.vision_utils import get_vision_interpolation_indices_and_weights

from vla_ros.errors import ConfigError
from vla_ros.policies.backbone import Layout
from vla_ros.policies.qwen import QwenBackbone, mix_all
from vla_ros.policies.sequence import embed_patches


class Qwen3VLBackbone(QwenBackbone):
    """Every patch sees every other; features from inside of the encoder join the image after the first decoder layers.

    Attributes:
        deepstack_after: the vision blocks whose output is such a feature (DeepStack).
    """

    # experts differ inside of transformers' decoder layers, and in the one field of the recipe
    architectures: ClassVar = {"qwen3_vl": Qwen3VLModel, "qwen3_vl_moe": Qwen3VLMoeModel}
    interpolation_indices: Tensor
    interpolation_weights: Tensor

    def __init__(self, model: PreTrainedModel, layout: Layout) -> None:
        super().__init__(model, layout)
        visual: Any = self.vision_encoder
        _check_deepstack(model.config)
        is_mixture = model.config.model_type == "qwen3_vl_moe"
        uses_deepstack = layout.recipe.qwen_moe_deepstack or not is_mixture
        self.deepstack_after: list[int] = list(visual.deepstack_visual_indexes) if uses_deepstack else []
        indices, weights = get_vision_interpolation_indices_and_weights(
            self.grid,
            num_grid_per_side=visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=visual.spatial_merge_size,
        )
        self.register_buffer("interpolation_indices", indices, persistent=False)
        self.register_buffer("interpolation_weights", weights[..., None], persistent=False)

    @property
    def unused_modules(self) -> list[nn.Module]:
        """DeepStack's mergers, where the recipe leaves them out."""
        return [] if self.deepstack_after else [self.vision_encoder.get_submodule("deepstack_merger_list")]

    def encode_image(self, pixel_values: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See `Backbone.encode_image`; the second are DeepStack's features."""
        visual: Any = self.vision_encoder
        batch = len(pixel_values)
        position = (visual.pos_embed(self.interpolation_indices) * self.interpolation_weights).sum(1)
        hidden = embed_patches(visual.patch_embed.proj, pixel_values)
        hidden = hidden + position.to(hidden.dtype)
        deepstack = []
        for index, block in enumerate(visual.blocks):
            hidden = self.run_block(self.run_vision_block, block, hidden, mix_all)
            if index in self.deepstack_after:
                merger = visual.deepstack_merger_list[self.deepstack_after.index(index)]
                deepstack.append(merger(hidden.flatten(0, 1)).unflatten(0, (batch, -1)))
        return visual.merger(hidden.flatten(0, 1)).unflatten(0, (batch, -1)), deepstack


def _check_deepstack(config: Any) -> None:
    """Each feature comes from one block and joins one decoder layer; any other would be left out in silence."""
    vision, blocks = config.vision_config, config.vision_config.deepstack_visual_indexes
    most = min(vision.depth, config.text_config.num_hidden_layers)
    if len(blocks) > most or len(set(blocks).intersection(range(vision.depth))) < len(blocks):
        raise ConfigError(
            f"vision_config.deepstack_visual_indexes: expected at most {most} different ones in [0, {vision.depth}), "
            f"got {list(blocks)}"
        )
