"""PaliGemma 1 and 2 for the compliance suite."""

from typing import Any

import torch
from torch import Tensor
from transformers import PaliGemmaForConditionalGeneration

from test.policies.case import Case
from vla_ros.contract import ImageSpec

VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 42,
    "patch_size": 14,
    "vision_use_head": False,
}
TEXT: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 12,
}
# a small cap, so that its effect shows
GEMMA2 = {
    **TEXT,
    "model_type": "gemma2",
    "num_key_value_heads": 2,
    "query_pre_attn_scalar": 10,
    "attn_logit_softcapping": 2.0,
    "sliding_window": 32,
}
# PaliGemma 2's published config has a width of its own that is not Gemma's
SPECIAL = {"image_token_index": 60, "projection_dim": 24, "hidden_size": 24}
SPECIAL2 = {**SPECIAL, "hidden_size": 20}


def paligemma_reference(case: Case, model: Any, pixels: Tensor, ids: Tensor, queries: Tensor) -> Tensor:
    """See `Case.reference`."""
    sequence = torch.cat([ids, torch.zeros(len(queries), dtype=ids.dtype)])[None]
    words = model.get_input_embeddings()
    # placeholders are found by their embedding where ids are not given
    embeds = words(sequence)
    embeds[0, len(ids) :] = queries * words.embed_scale
    types = None
    if case.layout.recipe.paligemma_prefix == "bidirectional":
        types = (sequence != case.image_token_id).int()
    pixel_values = image_of(case, pixels)
    if case.layout.recipe.paligemma_image_width == "text":
        output = model(inputs_embeds=embeds, pixel_values=pixel_values, token_type_ids=types)
    else:
        # the authors divide the image by the one width, then Gemma multiplies everything by the other
        image = model.get_image_features(pixel_values)
        image.pooler_output = image.pooler_output / model.config.hidden_size**0.5 * TEXT["hidden_size"] ** 0.5
        output = model(inputs_embeds=embeds, mm_encoder_outputs={"image": image}, token_type_ids=types)
    hidden: Tensor = output.last_hidden_state[0]
    return hidden


def image_of(case: Case, pixels: Tensor) -> Tensor:
    """The image [1, 3, rows, columns] whose patches these are."""
    side, patch = case.image.patches_per_side, case.image.patch_size_px
    blocks = pixels.reshape(side, side, 3, patch, patch).permute(2, 0, 3, 1, 4)
    return blocks.reshape(1, 3, side * patch, side * patch)


PALIGEMMA = Case(
    name="paligemma",
    family="paligemma",
    recipe="paper",
    config={"vision_config": VISION, "text_config": TEXT, **SPECIAL},
    image=ImageSpec(
        size_px=42, patch_size_px=14, merge_size=1, temporal_patch_size=1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    ),
    image_start=0,
    after=7,
    image_token_id=60,
    reference=paligemma_reference,
    full_model=PaliGemmaForConditionalGeneration,
)
PALIGEMMA2 = Case(
    name="paligemma2",
    family="paligemma",
    recipe="paper",
    config={"vision_config": VISION, "text_config": GEMMA2, **SPECIAL2},
    image=PALIGEMMA.image,
    image_start=0,
    after=7,
    image_token_id=60,
    reference=paligemma_reference,
    full_model=PaliGemmaForConditionalGeneration,
)
CASES = [PALIGEMMA, PALIGEMMA.under("upstream"), PALIGEMMA2, PALIGEMMA2.under("upstream")]
