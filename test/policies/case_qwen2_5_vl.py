"""Qwen2.5-VL for the compliance suite: windows that fill the grid, and windows that the image's edge cuts."""

from dataclasses import replace

from transformers import Qwen2_5_VLForConditionalGeneration

from test.policies.case import Case
from test.policies.qwen_reference import qwen_reference
from vla_ros.contract import ImageSpec

EVEN = Case(
    name="qwen2_5_vl",
    family="qwen2_5_vl",
    recipe="paper",
    config={
        "vision_config": {
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 24,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        "text_config": {
            "vocab_size": 64,
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]},
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        "image_token_id": 60,
        "video_token_id": 61,
        "vision_start_token_id": 62,
        "vision_end_token_id": 63,
    },
    image=ImageSpec(
        size_px=112, patch_size_px=14, merge_size=2, temporal_patch_size=2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    ),
    image_start=5,
    after=7,
    image_token_id=60,
    reference=qwen_reference,
    full_model=Qwen2_5_VLForConditionalGeneration,
)
CUT = replace(EVEN, name="qwen2_5_vl-cut-windows", image=replace(EVEN.image, size_px=84))
CASES = [EVEN, EVEN.under("upstream"), CUT]
