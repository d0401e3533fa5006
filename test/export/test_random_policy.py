"""Random weights at a real policy's size: quick to draw, and answers that depend on what is seen and said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from vla_ros import config as yaml_config
from vla_ros.bundle import Bundle
from vla_ros.cli import main
from vla_ros.errors import ConfigError
from vla_ros.export.random_frames import CAMERA, INSTRUCTIONS
from vla_ros.export.random_policy import VOCABULARY, fingerprint, random_frames, random_policy
from vla_ros.export.trained import TrainedPolicy
from vla_ros.policies import registry
from vla_ros.processing.tokenizer import train_tokenizer
from vla_ros.train.build import build_prompt_encoder
from vla_ros.train.config import PolicyConfig

POLICIES = sorted((Path(__file__).parents[2] / "config" / "policy").glob("*.yaml"))
TINY = next(path for path in POLICIES if path.stem == "libero_object_tiny")


@pytest.fixture(scope="module")
def config() -> PolicyConfig:
    return yaml_config.load(TINY, PolicyConfig)


@pytest.fixture(scope="module")
def trained(config: PolicyConfig) -> TrainedPolicy:
    return random_policy(config, seed=3)


def test_image_and_instruction_change_the_answer(trained: TrainedPolicy) -> None:
    first, second = random_frames(2, seed=0)
    answer = trained.outputs(first)
    assert np.abs(answer - trained.outputs(replace(first, image=second.image))).max() > 1e-2
    assert np.abs(answer - trained.outputs(replace(first, instruction=second.instruction))).max() > 1e-2


def test_answers_are_neither_nothing_nor_saturated(trained: TrainedPolicy) -> None:
    arm = trained.outputs(random_frames(1, seed=0)[0])[:, :6]
    assert 0.01 < np.abs(arm).mean() < 0.9


def test_the_same_seed_gives_the_same_weights_and_another_one_others(
    config: PolicyConfig, trained: TrainedPolicy
) -> None:
    frame = random_frames(1, seed=0)[0]
    assert np.array_equal(random_policy(config, seed=3).outputs(frame), trained.outputs(frame))
    assert not np.array_equal(random_policy(config, seed=4).outputs(frame), trained.outputs(frame))
    assert fingerprint(config, 3) != fingerprint(config, 4)


def test_weights_have_the_spread_that_the_family_asks_for(trained: TrainedPolicy) -> None:
    weights = {
        name: weight
        for name, weight in trained.policy.backbone.named_parameters()
        if weight.ndim > 1 and weight.numel() > 10_000
    }
    assert weights
    for name, weight in weights.items():
        assert weight.std().item() == pytest.approx(0.02, rel=0.05), name  # transformers' initializer_range
        assert torch.unique(weight, dim=0).shape == weight.shape, name


def test_a_config_without_sizes_is_refused(config: PolicyConfig) -> None:
    unknown = replace(config, backbone_config=None, weights="somebody/something", tokenizer_vocabulary=None)
    with pytest.raises(
        ConfigError, match="backbone_config: expected the model's sizes for random weights, got nothing"
    ):
        random_policy(unknown)


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_every_policy_config_has_a_tokenizer_that_fits_it(path: Path) -> None:
    config = yaml_config.load(path, PolicyConfig)
    tokenizer = train_tokenizer(list(INSTRUCTIONS), config.tokenizer_vocabulary or VOCABULARY, config.prompt.template)
    assert config.backbone_config is not None
    text = registry.family(config.backbone).read_config(config.backbone_config).get_text_config()
    assert tokenizer.get_vocab_size() <= text.vocab_size
    encoder = build_prompt_encoder(tokenizer, config, "paper")
    longest = max(encoder.encode(instruction).query_index for instruction in INSTRUCTIONS)
    assert encoder.encode(INSTRUCTIONS[0]).query_index == longest


def test_frames_look_like_pictures() -> None:
    frames = random_frames(6, seed=1)
    assert {frame.instruction for frame in frames} == set(INSTRUCTIONS)
    for frame in frames:
        CAMERA.check(frame.image, "frame")
        image = frame.image.astype(np.float64)
        assert image.std() > 10
        neighbours = np.abs(np.diff(image, axis=1)).mean()
        assert 0.5 < neighbours < 0.3 * image.std()  # smooth, and not flat
    assert not np.array_equal(frames[0].image, frames[5].image)
    assert np.array_equal(frames[0].image, random_frames(1, seed=1)[0].image)


def test_random_weights_are_exported_though_their_grippers_differ(tmp_path: Path) -> None:
    """Their logits are around zero, and every other gripper value differs in 4 bits."""
    output = tmp_path / "random"
    arguments = ["--random-weights", str(TINY), "--precision", "int4", "--frames", "2", "--output", str(output)]
    settings = tmp_path / "int4.yaml"
    settings.write_text("precision: int4\nblock_size: 64\n")
    assert main(["export", *arguments, "--config", str(settings)]) == 0
    assert Bundle.open(output).manifest.graph.tolerance["gripper_flips"] == 1.0
