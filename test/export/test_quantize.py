"""The few bits of a weight, on numbers computed by hand."""

import pytest

pytest.importorskip("torch")

import torch

from vla_ros.export import quantize


def test_int8_has_one_scale_per_output_from_its_largest_weight() -> None:
    weight = torch.tensor([[1.27, -0.5], [-0.635, 0.25]])
    few = quantize.to_int8(weight)
    torch.testing.assert_close(few.scale, torch.tensor([0.01, 0.5 / 127]))
    assert few.values.tolist() == [[127, -127], [-64, 64]]  # halves go to the even neighbour: -63.5 and 63.5
    assert few.values.dtype == torch.int8
    assert (few.dequantize() - weight).abs().max() <= 0.005 + 1e-6


def test_fp8_keeps_three_bits_behind_the_leading_one() -> None:
    weight = torch.tensor([[448.0], [17.0], [-0.3]])
    few = quantize.to_fp8(weight)
    assert few.dequantize()[:, 0].tolist() == [448.0, 16.0, -0.3125]


def test_int4_clips_an_outlier_only_where_that_pays() -> None:
    block = torch.tensor([1.0, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])[:, None]
    even = torch.ones(8)
    few = quantize.to_int4(block, even, block_size=8)
    plain = (block / (1 / 7)).round() / 7
    assert (few.dequantize() - block).square().sum() <= (plain - block).square().sum()
    loud = even.clone()
    loud[0] = 1e6  # the first input is what counts: its weight must not be clipped
    kept = quantize.to_int4(block, loud, block_size=8).dequantize()
    assert abs(float(kept[0, 0]) - 1.0) < 1e-3


def test_int4_has_one_scale_per_block_and_output() -> None:
    weight = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    few = quantize.to_int4(weight, torch.ones(32), block_size=8)
    assert few.scale.shape == (4, 3)
    assert few.values.abs().max() <= 7
    assert (few.dequantize() - weight).abs().max() < weight.abs().max() / 7


@pytest.mark.parametrize("rounding", [quantize.to_int8, quantize.to_fp8])
def test_weights_that_are_all_zero_stay_zero(rounding) -> None:  # type: ignore[no-untyped-def]
    few = rounding(torch.zeros(4, 2))
    assert torch.equal(few.dequantize(), torch.zeros(4, 2))
    assert few.scale.tolist() == [1.0, 1.0]


def test_smoothing_moves_outliers_of_inputs_to_the_weights() -> None:
    """SmoothQuant, eq. 4: max|x|**a / max|w|**(1 - a), here up to one common factor."""
    factors = quantize.smoothing(torch.tensor([100.0, 1.0]), torch.tensor([1.0, 1.0]), strength=0.5)
    assert float(factors[0] / factors[1]) == pytest.approx(10.0)


def test_a_channel_that_is_never_used_is_left_alone() -> None:
    factors = quantize.smoothing(torch.tensor([0.0, 3.0, 5.0]), torch.tensor([1.0, 0.0, 1.0]), strength=0.5)
    assert factors[:2].tolist() == [1.0, 1.0]
    assert torch.isfinite(factors).all()
