"""The recipe's loss against numbers computed by hand."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vla_ros.train.objectives import SceneHead, action_loss  # noqa: E402


def test_masked_steps_do_not_count_and_the_loss_is_the_hand_computed_one() -> None:
    outputs, targets = torch.zeros(1, 3, 7), torch.zeros(1, 3, 7)
    targets[0, 0, :6] = 0.5  # |error| 0.5 > delta: 0.5 - delta / 2
    targets[0, 2] = 9.0
    weights = torch.tensor([[0.5, 0.5, 0.0]])
    losses = action_loss(outputs, targets, weights, huber_delta=0.1)
    assert losses["arm"].item() == pytest.approx((0.45 + 0.0) / 2)
    assert losses["gripper"].item() == pytest.approx(np.log(2))


def test_the_papers_huber_loss_is_half_the_square_up_to_one() -> None:
    outputs, targets, weights = torch.zeros(1, 1, 7), torch.zeros(1, 1, 7), torch.ones(1, 1)
    targets[..., :6] = torch.tensor([0.5, 0.5, 0.5, 2.0, 2.0, 2.0])
    assert action_loss(outputs, targets, weights, huber_delta=1.0)["arm"].item() == pytest.approx((0.125 + 1.5) / 2)


def test_a_scene_head_speaks_in_metres_and_learns_in_standard_deviations() -> None:
    head = SceneHead(2, mean=torch.full((9,), 0.5), std=torch.full((9,), 0.1))
    torch.nn.init.zeros_(head.linear.weight)
    torch.nn.init.ones_(head.linear.bias)
    hidden = torch.zeros(1, 2)
    assert torch.allclose(head.positions(hidden), torch.full((1, 9), 0.6))
    # one standard deviation off, Huber's delta 0.1: 1 - 0.05
    assert head.loss(hidden, torch.full((1, 9), 0.5)).item() == pytest.approx(0.95)
