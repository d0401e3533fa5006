"""The optimizer's schedule and what it decays."""

import pytest

torch = pytest.importorskip("torch")

from vla_ros.train.config import OptimizerConfig  # noqa: E402
from vla_ros.train.optimization import build_optimizer, learning_rate  # noqa: E402


def make_config(schedule: str) -> OptimizerConfig:
    return OptimizerConfig(
        steps=110,
        batch_size=1,
        learning_rate=2.0,
        warmup_steps=10,
        schedule=schedule,  # type: ignore[arg-type]
        weight_decay=0.1,
    )


def test_the_learning_rate_warms_up_and_decays_to_zero() -> None:
    settings = make_config("cosine")
    assert [learning_rate(step, settings) for step in (0, 4, 9, 10, 60)] == pytest.approx([0.2, 1.0, 2.0, 2.0, 1.0])
    assert learning_rate(109, settings) < 1e-3


def test_the_recipes_learning_rate_stays_after_the_warm_up() -> None:
    settings = make_config("constant")
    assert [learning_rate(step, settings) for step in (0, 9, 10, 109)] == pytest.approx([0.2, 2.0, 2.0, 2.0])


def test_only_matrices_that_are_trained_are_decayed() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4))
    module[1].weight.requires_grad_(False)
    decayed, others = build_optimizer(module, make_config("constant")).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(3, 2)]
    assert [tuple(p.shape) for p in others["params"]] == [(3,), (4,)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
