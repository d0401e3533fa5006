"""Qwen2.5-VL: most vision blocks attend within windows, whose places on a fixed grid are constants."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, Qwen2_5_VLModel
from transformers.vision_utils import get_vision_window_index

from vla_ros.errors import ConfigError
from vla_ros.policies.backbone import Layout
from vla_ros.policies.qwen import QwenBackbone, mix_all
from vla_ros.policies.sequence import embed_patches


class Qwen2_5VLBackbone(QwenBackbone):  # noqa: N801 (the model's name)
    """Patches are reordered window by window on entry, image tokens back into rows on leaving.

    Attributes:
        patch_order: int64 [patches], which patch of the image stands where.
        token_order: int64 [image_tokens], where each image token stands.
        window_slots: int64 [windows, longest], the patches of each window; short ones are filled up with patch 0.
        window_mask: float [windows, 1, 1, longest], -inf on what was filled up; None if nothing was.
        window_places: int64 [patches], where each patch stands among the flattened `window_slots`.
    """

    architectures: ClassVar = {"qwen2_5_vl": Qwen2_5_VLModel}
    patch_order: Tensor
    token_order: Tensor
    window_slots: Tensor
    window_mask: Tensor | None
    window_places: Tensor

    def __init__(self, model: PreTrainedModel, layout: Layout) -> None:
        super().__init__(model, layout)
        config: Any = model.config
        if "sliding_attention" in config.text_config.layer_types:
            raise ConfigError("text_config.use_sliding_window: expected false, got true")
        visual: Any = self.vision_encoder
        merged = visual.spatial_merge_unit
        with torch.device("cpu"):  # places are computed even where the model is on the meta device
            windows, ends = get_vision_window_index(
                self.grid, visual.spatial_merge_size, visual.window_size, visual.patch_size
            )
            patch_order = (windows[:, None] * merged + torch.arange(merged)).flatten()
            self._add_windows(ends)
        self.register_buffer("patch_order", patch_order, persistent=False)
        self.register_buffer("token_order", windows.argsort(), persistent=False)
        self.vision_cos = self.vision_cos[patch_order]
        self.vision_sin = self.vision_sin[patch_order]

    def _add_windows(self, ends: Tensor) -> None:
        """At the image's edge windows may be smaller; they are filled up, so that all are computed at once."""
        starts, lengths = ends[:-1, None].long(), ends.diff()[:, None]
        slot = torch.arange(int(lengths.max()))[None]
        is_patch = slot < lengths
        self.register_buffer("window_slots", (starts + slot) * is_patch, persistent=False)
        self.register_buffer("window_places", is_patch.flatten().nonzero()[:, 0], persistent=False)
        mask = torch.where(is_patch, 0.0, -torch.inf)[:, None, None]
        self.register_buffer("window_mask", None if is_patch.all() else mask, persistent=False)

    def encode_image(self, pixel_values: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See `Backbone.encode_image`; nothing is added later."""
        visual: Any = self.vision_encoder
        hidden = embed_patches(visual.patch_embed.proj, pixel_values[:, self.patch_order])
        for index, block in enumerate(visual.blocks):
            mix = mix_all if index in visual.fullatt_block_indexes else self._mix_in_windows
            hidden = self.run_block(self.run_vision_block, block, hidden, mix)
        merged = visual.merger(hidden.flatten(0, 1)).unflatten(0, (len(pixel_values), -1))
        return merged[:, self.token_order], []

    def _mix_in_windows(self, attention: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch = len(query)
        query, key, value = (states[:, self.window_slots].flatten(0, 1) for states in (query, key, value))
        mask = None if self.window_mask is None else self.window_mask.to(query.dtype).repeat(batch, 1, 1, 1)
        mixed = mix_all(attention, query, key, value, mask).unflatten(0, (batch, -1)).flatten(1, 2)
        return mixed[:, self.window_places]
