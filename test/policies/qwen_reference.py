"""One sample through transformers' unmodified Qwen models."""

from typing import Any

import torch
from torch import Tensor

from test.policies.case import Case


def qwen_reference(case: Case, model: Any, pixels: Tensor, ids: Tensor, queries: Tensor) -> Tensor:
    """See `Case.reference`."""
    side = case.image.patches_per_side
    grid = torch.tensor([[1, side, side]])
    sequence = torch.cat([ids, torch.zeros(len(queries), dtype=ids.dtype)])[None]
    if case.layout.recipe.qwen_image_positions == "mrope":
        types = (sequence == case.image_token_id).int()
        positions, _ = model.get_rope_index(sequence, image_grid_thw=grid, mm_token_type_ids=types)
    else:
        positions = torch.arange(sequence.shape[1]).expand(3, 1, -1)
    # placeholders are found by their embedding where ids are not given
    embeds = model.get_input_embeddings()(sequence)
    embeds[0, len(ids) :] = queries
    if case.name == "qwen3_vl_moe-upstream":  # as the authors call it: the decoder alone, without DeepStack's features
        (image,) = model.get_image_features(pixels, grid).pooler_output
        embeds[0, case.image_start : case.image_start + len(image)] = image
        output = model.language_model(inputs_embeds=embeds, position_ids=positions)
    else:
        output = model(inputs_embeds=embeds, position_ids=positions, pixel_values=pixels, image_grid_thw=grid)
    hidden: Tensor = output.last_hidden_state[0]
    return hidden
