"""Kosmos-2 for the compliance suite."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import Kosmos2ForConditionalGeneration

from test.policies.case import Case
from test.policies.case_paligemma import image_of
from vla_ros.contract import ImageSpec

VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 42,
    "patch_size": 14,
}
# without dropout, so that two runs can be compared; test_kosmos2.py has it
TEXT = {
    "vocab_size": 64,
    "embed_dim": 24,
    "layers": 3,
    "ffn_dim": 40,
    "attention_heads": 4,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}


def kosmos2_reference(case: Case, model: Any, pixels: Tensor, ids: Tensor, queries: Tensor) -> Tensor:
    """See `Case.reference`."""
    embeds = torch.cat([model.get_input_embeddings()(ids), queries])[None]
    is_image = torch.zeros(1, embeds.shape[1])
    is_image[:, case.image_start : case.image_start + case.image.image_tokens] = 1
    output = model(
        pixel_values=image_of(case, pixels), inputs_embeds=embeds.clone(), image_embeds_position_mask=is_image
    )
    hidden: Tensor = output.last_hidden_state[0]
    return hidden


KOSMOS2 = Case(
    name="kosmos2",
    family="kosmos2",
    recipe="paper",
    config={"vision_config": VISION, "text_config": TEXT, "latent_query_num": 5},
    image=ImageSpec(
        size_px=42,
        patch_size_px=14,
        merge_size=1,
        temporal_patch_size=1,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        resampled_tokens=5,
    ),
    image_start=2,
    after=7,
    image_token_id=60,
    reference=kosmos2_reference,
    full_model=Kosmos2ForConditionalGeneration,
)
CASES = [KOSMOS2, replace(KOSMOS2.under("upstream"), image_start=0)]
