"""A Qwen3-VL of the real architecture, small enough for a test."""

import pytest

pytest.importorskip("torch")

from vla_ros.contract import ImageSpec


@pytest.fixture
def image_spec() -> ImageSpec:
    return ImageSpec(
        size_px=64, patch_size_px=16, merge_size=2, temporal_patch_size=2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )


@pytest.fixture
def qwen3_vl_config() -> dict[str, object]:
    return {
        "vision_config": {
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 24,
            "num_position_embeddings": 36,
            "deepstack_visual_indexes": [0, 1],
        },
        "text_config": {
            "vocab_size": 64,
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]},
        },
        "image_token_id": 60,
        "video_token_id": 61,
        "vision_start_token_id": 62,
        "vision_end_token_id": 63,
    }
