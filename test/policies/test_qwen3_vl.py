"""What is Qwen3-VL's own: DeepStack; and what it takes in silence."""

from typing import Any

import pytest

pytest.importorskip("torch")

from test.policies.case_qwen3_vl import DENSE
from vla_ros.errors import ConfigError
from vla_ros.policies.qwen3_vl import Qwen3VLBackbone


@pytest.mark.parametrize("blocks", [[3], [-1], [0, 0], [0, 1, 2, 3]])
def test_deepstack_features_that_no_block_makes_are_refused(blocks: list[int]) -> None:
    config: dict[str, Any] = {**DENSE.config}
    config["vision_config"] = {**config["vision_config"], "deepstack_visual_indexes": blocks}
    with pytest.raises(ConfigError, match=r"deepstack_visual_indexes: expected at most 3 .* in \[0, 3\), got \["):
        Qwen3VLBackbone.from_config(config, DENSE.layout)


def test_more_deepstack_features_than_decoder_layers_are_refused() -> None:
    config = {**DENSE.config, "text_config": {**DENSE.config["text_config"], "num_hidden_layers": 1}}
    with pytest.raises(ConfigError, match=r"deepstack_visual_indexes: expected at most 1 .* got \[0, 1\]"):
        Qwen3VLBackbone.from_config(config, DENSE.layout)


def test_angles_that_do_not_fill_a_head_are_refused() -> None:
    """transformers would use some of them, and its default is made for heads of 128."""
    for rope in ({"rope_type": "default", "mrope_section": [2, 2, 1]}, {"rope_type": "default"}):
        config = {**DENSE.config, "text_config": {**DENSE.config["text_config"], "rope_parameters": rope}}
        with pytest.raises(ConfigError, match=r"mrope_section: expected a sum of 6, half of a head's width, got"):
            Qwen3VLBackbone.from_config(config, DENSE.layout)
