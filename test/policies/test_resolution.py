"""The paper's resolutions (table 7) on tiny models: nothing but the image's size changes."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch

from test.policies.case import Case
from test.policies.case_qwen2_5_vl import EVEN as QWEN2_5
from test.policies.case_qwen3_vl import DENSE as QWEN3
from test.policies.cases import run


@pytest.mark.parametrize(
    ("case", "size_px", "encoder_px", "tokens"),
    [
        (QWEN3, 224, None, 49),
        (QWEN3, 512, None, 256),
        (QWEN3, 768, None, 576),
        (QWEN2_5, 224, None, 64),
        (QWEN2_5, 512, 504, 324),
        (QWEN2_5, 768, 756, 729),
    ],
    ids=str,
)
@torch.no_grad()
def test_every_resolution_equals_the_unmodified_forward(
    case: Case, size_px: int, encoder_px: int | None, tokens: int
) -> None:
    case = replace(case, image=replace(case.image, size_px=size_px, encoder_px=encoder_px))
    assert case.image.image_tokens == tokens
    backbone, inputs = case.build(), case.inputs()
    hidden = run(backbone, inputs)
    expected = case.reference(case, case.unmodified(backbone), *inputs.row(1), inputs.queries)[-1]
    torch.testing.assert_close(hidden[1, 0], expected, atol=1e-4, rtol=1e-4)
