"""Qwen3-VL for the compliance suite: dense and mixture of experts."""

from transformers import Qwen3VLForConditionalGeneration, Qwen3VLMoeForConditionalGeneration

from test.policies.case import Case
from test.policies.qwen_reference import qwen_reference
from vla_ros.contract import ImageSpec

VISION = {
    "depth": 3,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": 24,
    "num_position_embeddings": 36,
    "deepstack_visual_indexes": [0, 1],
}
TEXT = {
    "vocab_size": 64,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]},
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
SPECIAL = {"image_token_id": 60, "video_token_id": 61, "vision_start_token_id": 62, "vision_end_token_id": 63}

DENSE = Case(
    name="qwen3_vl",
    family="qwen3_vl",
    recipe="paper",
    config={"vision_config": VISION, "text_config": TEXT, **SPECIAL},
    image=ImageSpec(
        size_px=64, patch_size_px=16, merge_size=2, temporal_patch_size=2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    ),
    image_start=5,
    after=7,
    image_token_id=60,
    reference=qwen_reference,
    full_model=Qwen3VLForConditionalGeneration,
)
MIXTURE = Case(
    name="qwen3_vl_moe",
    family="qwen3_vl",
    recipe="paper",
    config={"model_type": "qwen3_vl_moe", "vision_config": VISION, "text_config": {**TEXT, **EXPERTS}, **SPECIAL},
    image=DENSE.image,
    image_start=5,
    after=7,
    image_token_id=60,
    reference=qwen_reference,
    full_model=Qwen3VLMoeForConditionalGeneration,
)
CASES = [DENSE, DENSE.under("upstream"), MIXTURE, MIXTURE.under("upstream")]
