"""Operations of an update, against products that one can do by hand."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vla_ros.train.flops import flops_per_update, peak_flops


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 4)
        self.register_buffer("scale", torch.full((4,), 2.0))

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.second(torch.relu(self.first(inputs))) * self.scale).sum()}


def test_a_pass_costs_its_matrix_products() -> None:
    forward = 2 * 3 * (8 * 16 + 16 * 4)
    weights = forward  # each weight's gradient is a product of the same size
    inputs = 2 * 3 * 16 * 4  # of the second layer only: nothing lies before the first
    assert flops_per_update(TwoLayers(), {"inputs": torch.zeros(3, 8)}) == forward + weights + inputs


def test_a_frozen_layer_has_no_gradient_to_compute() -> None:
    module = TwoLayers()
    module.first.requires_grad_(False)
    forward = 2 * 3 * (8 * 16 + 16 * 4)
    assert flops_per_update(module, {"inputs": torch.zeros(3, 8)}) == forward + 2 * 3 * 16 * 4


def test_counting_computes_nothing_and_leaves_the_module_alone() -> None:
    module, batch = TwoLayers(), {"inputs": torch.randn(3, 8)}
    before = {name: value.clone() for name, value in module.state_dict().items()}
    counted = flops_per_update(module, batch)
    assert all(parameter.grad is None for parameter in module.parameters())
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
    with FlopCounterMode(display=False) as counter:
        module(**batch)["loss"].backward()
    assert counted == counter.get_total_flops()


def test_a_device_has_a_peak() -> None:
    assert peak_flops(torch.device("cpu"), "fp32") > 1e6
