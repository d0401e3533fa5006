"""The recipe's loss against numbers computed by hand."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vla_ros.train.objectives import NamedPositions, SceneHead, action_loss  # noqa: E402


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
    head = SceneHead(2, image_width=4, mean=torch.full((9,), 0.5), std=torch.full((9,), 0.1))
    torch.nn.init.zeros_(head.linear.weight)
    torch.nn.init.ones_(head.linear.bias)
    hidden, image = torch.zeros(1, 2), torch.zeros(1, 3, 4)
    assert torch.allclose(head.positions(hidden, image), torch.full((1, 9), 0.6))
    # one standard deviation off, Huber's delta 0.1: 1 - 0.05
    assert head.loss(hidden, image, torch.full((1, 9), 0.5)).item() == pytest.approx(0.95)


def test_things_that_are_not_in_the_scene_are_not_looked_for() -> None:
    head = SceneHead(2, image_width=4, mean=torch.zeros(15), std=torch.ones(15))
    torch.nn.init.zeros_(head.linear.weight)
    torch.nn.init.zeros_(head.linear.bias)
    hidden, image, scene = torch.zeros(2, 2), torch.randn(2, 3, 4), torch.zeros(2, 15)
    scene[0, 9:12] = scene[1, 9:] = torch.nan
    truth = head.positions(hidden, image).detach()
    scene[0, 12:] = truth[0, 12:] + 1.0
    loss = head.loss(hidden, image, scene)
    assert loss.item() == pytest.approx(0.95, rel=1e-5)  # the one thing that is there is one standard deviation off
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())


def test_each_thing_is_read_from_the_tokens_that_show_it() -> None:
    head = NamedPositions(width=4, count=2)
    image = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2]]), 4).float()
    with torch.no_grad():
        head.shows.weight.copy_(100 * torch.eye(4)[1:3])  # the first thing looks like token 1, the second like token 2
        head.places.weight.copy_(torch.eye(4)[[1, 0, 0, 0, 2, 0]])
        head.places.bias.zero_()
        found = head(image)[0]
        shown = head.norm(image)[0, 1, 1]
    expected = torch.zeros(6)
    expected[0] = expected[4] = shown
    expected[1:3] = expected[[3, 5]] = head.norm(image)[0, 1, 0].item()
    torch.testing.assert_close(found, expected)
