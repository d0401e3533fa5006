"""The fixed-grid backbone against transformers' unmodified Qwen3-VL."""

import numpy as np
import torch
from torch import Tensor

from vla_ros.contract import ImageSpec
from vla_ros.policies.qwen3_vl import Qwen3VLBackbone

BEFORE, IMAGE_TOKENS, AFTER = 5, 4, 7
TOKENS = BEFORE + IMAGE_TOKENS + AFTER


def make_backbone(config: dict[str, object], image: ImageSpec) -> Qwen3VLBackbone:
    torch.manual_seed(0)
    backbone = Qwen3VLBackbone.from_scratch(config, image, image_start=BEFORE).eval()
    for parameter in backbone.parameters():  # biases and norms too, so that none is invisible to the comparison
        torch.nn.init.normal_(parameter, std=0.3)
    return backbone


def make_inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, 16, 3 * 2 * 16 * 16, generator=generator)
    ids = torch.randint(0, 50, (2, TOKENS), generator=generator)
    ids[:, BEFORE : BEFORE + IMAGE_TOKENS] = 60
    return pixels, ids, torch.tensor([12, 15]), torch.randn(24, generator=generator)


def transformers_hidden(backbone: Qwen3VLBackbone, pixels: Tensor, ids: Tensor, index: int, query: Tensor) -> Tensor:
    """The official forward of one unpadded sample, the query appended as an input embedding."""
    model = backbone.model
    sequence = ids[None, : index + 1].clone()
    types = (sequence == 60).int()
    grid = torch.tensor([[1, 4, 4]])
    positions, _ = model.get_rope_index(sequence, image_grid_thw=grid, mm_token_type_ids=types)
    embeds = model.get_input_embeddings()(sequence)
    # placeholders are found by their embedding when ids are not given
    embeds[0, index] = query
    output = model(inputs_embeds=embeds, position_ids=positions, pixel_values=pixels, image_grid_thw=grid)
    return output.last_hidden_state[0, index]


def test_hidden_state_equals_the_unmodified_transformers_forward(
    qwen3_vl_config: dict[str, object], image_spec: ImageSpec
) -> None:
    backbone = make_backbone(qwen3_vl_config, image_spec)
    pixels, ids, query_index, query = make_inputs()
    with torch.no_grad():
        hidden = backbone(pixels, ids, query_index, query)
        for row in range(2):
            expected = transformers_hidden(backbone, pixels[row], ids[row], int(query_index[row]), query)
            torch.testing.assert_close(hidden[row], expected, atol=2e-5, rtol=1e-5)


def test_tokens_behind_the_query_change_nothing(qwen3_vl_config: dict[str, object], image_spec: ImageSpec) -> None:
    backbone = make_backbone(qwen3_vl_config, image_spec)
    pixels, ids, _, query = make_inputs()
    query_index = torch.tensor([11, 11])
    with torch.no_grad():
        before = backbone(pixels, ids, query_index, query)
        ids[:, 12:] = 7
        after = backbone(pixels, ids, query_index, query)
    assert torch.equal(before, after)


def test_image_and_every_prompt_token_matter(qwen3_vl_config: dict[str, object], image_spec: ImageSpec) -> None:
    backbone = make_backbone(qwen3_vl_config, image_spec)
    pixels, ids, query_index, query = make_inputs()
    with torch.no_grad():
        reference = backbone(pixels, ids, query_index, query)
        for patch in range(16):
            changed = pixels.clone()
            changed[:, patch] += 1
            assert not torch.allclose(backbone(changed, ids, query_index, query), reference)
        for position in (0, BEFORE - 1, BEFORE + IMAGE_TOKENS, 11):
            changed_ids = ids.clone()
            changed_ids[:, position] = (ids[:, position] + 1) % 50
            assert not torch.allclose(backbone(pixels, changed_ids, query_index, query), reference)


def test_gradient_reaches_every_parameter_that_the_recipe_trains(
    qwen3_vl_config: dict[str, object], image_spec: ImageSpec
) -> None:
    backbone = make_backbone(qwen3_vl_config, image_spec)
    pixels, ids, query_index, query = make_inputs()
    query.requires_grad_()
    backbone(pixels, ids, query_index, query).square().sum().backward()
    assert query.grad is not None
    silent = [n for n, p in backbone.named_parameters() if p.grad is None or not np.any(p.grad.numpy())]
    assert silent == []
