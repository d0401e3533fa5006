"""Paper and authors' code in the training config; `test/policies` and `test/processing` have the other differences."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from vla_ros import config
from vla_ros.recipe import RECIPES, Recipe
from vla_ros.train.config import TrainConfig

TINY = Path(__file__).parents[1] / "config" / "train" / "libero_object_tiny.yaml"


def under_upstream(encoder_px: int | None, gripper_weight: float | None = None) -> TrainConfig:
    """The demo's training under the other recipe."""
    tiny = config.load(TINY, TrainConfig)
    policy = replace(tiny.policy, image=replace(tiny.policy.image, encoder_px=encoder_px))
    objective = replace(tiny.objective, gripper_weight=gripper_weight)
    return replace(tiny, recipe="upstream", policy=policy, objective=objective)


def test_every_field_is_a_difference() -> None:
    paper, upstream = RECIPES["paper"], RECIPES["upstream"]
    assert all(getattr(paper, field.name) != getattr(upstream, field.name) for field in fields(Recipe))


def test_the_grippers_loss_weighs_a_hundredth_upstream() -> None:
    """`arm_gripper_loss_ratio` of the authors' configs; the paper's equation 1 has no weights."""
    upstream = under_upstream(encoder_px=448)
    assert upstream.gripper_weight == 0.01
    assert replace(upstream, recipe="paper").gripper_weight == 1.0
    assert under_upstream(encoder_px=448, gripper_weight=0.3).gripper_weight == 0.3


def test_qwen_sees_no_less_than_448_px_upstream() -> None:
    """`min_pixels=28 * 28 * 256` of the authors' processor."""
    assert under_upstream(encoder_px=448).policy.image.image_tokens == 196
    for encoder_px in (None, 416):
        with pytest.raises(ValueError, match=r"policy\.image\.encoder_px: expected >= 448 under recipe upstream, got"):
            under_upstream(encoder_px)
