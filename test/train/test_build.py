"""Policy configs into policies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from test.policies.case import Case
from test.policies.cases import CASES
from test.policies.test_pretrained import publish
from vla_ros import config
from vla_ros.contract import PromptSpec
from vla_ros.errors import ConfigError
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.processing.tokenizer import train_tokenizer
from vla_ros.recipe import RecipeName
from vla_ros.train.build import build_policy, build_prompt_encoder, load_or_train_tokenizer
from vla_ros.train.config import FreezeConfig, LoraConfig, PolicyConfig

POLICIES = Path(__file__).parents[2] / "config" / "policy"
INSTRUCTIONS = ["pick up the alphabet soup", "open the drawer"]
QWEN3 = next(case for case in CASES if case.name == "qwen3_vl")


def tiny(**changes: Any) -> PolicyConfig:
    fields: dict[str, Any] = {
        "backbone": "qwen3_vl",
        "backbone_config": QWEN3.config,
        "tokenizer_vocabulary": 300,
        "image": QWEN3.image,
        "prompt": PromptSpec(template="qwen_long", max_tokens=96),
    }
    return PolicyConfig(**{**fields, **changes})


def build(policy: PolicyConfig, recipe: RecipeName = "paper", seed: int = 0, pretrained: bool = True) -> VLAPolicy:
    tokenizer = load_or_train_tokenizer(policy, INSTRUCTIONS)
    return build_policy(policy, recipe, 4, tokenizer, seed, pretrained=pretrained)


def answer(policy: VLAPolicy, settings: PolicyConfig) -> torch.Tensor:
    tokenizer = load_or_train_tokenizer(settings, INSTRUCTIONS)
    prompt = build_prompt_encoder(tokenizer, settings, "paper").encode(INSTRUCTIONS[0])
    pixels = torch.linspace(-1, 1, 16 * 1536).reshape(1, 16, 1536)
    output: torch.Tensor = policy(pixels, torch.from_numpy(prompt.input_ids)[None], torch.tensor([prompt.query_index]))
    return output


def write_model(case: Case, folder: Path) -> dict[str, torch.Tensor]:
    """A published model with room for the special tokens, and a tokenizer."""
    text = {**case.config["text_config"], "vocab_size": 300}
    full = publish(replace(case, config={**case.config, "text_config": text}), folder)
    train_tokenizer(INSTRUCTIONS, 300, "qwen_long").save(str(folder / "tokenizer.json"))
    state: dict[str, torch.Tensor] = full.state_dict()
    return state


def test_the_demos_policy_has_the_size_it_always_had() -> None:
    policy = build(config.load(POLICIES / "libero_object_tiny.yaml", PolicyConfig))
    assert sum(parameter.numel() for parameter in policy.parameters()) == pytest.approx(6.52e6, rel=0.01)


def test_random_weights_follow_from_the_seed() -> None:
    first, same, other = (build(tiny(), seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["head.trunk.0.weight"], other["head.trunk.0.weight"])
    assert not any(torch.equal(first[n], other[n]) for n in first if n.endswith("q_proj.weight"))


def test_the_vocabulary_is_the_tokenizers() -> None:
    assert build(tiny()).backbone.word_embeddings.num_embeddings == 300


@torch.no_grad()
def test_pretrained_weights_and_tokenizer_come_from_the_folder(tmp_path: Path) -> None:
    published = write_model(QWEN3, tmp_path)
    settings = tiny(weights=str(tmp_path), backbone_config=None, tokenizer_vocabulary=None)
    policy = build(settings)
    for name, weight in policy.backbone.model.state_dict().items():
        assert torch.equal(weight, published[f"model.{name}"])
    assert answer(policy, settings).shape == (1, 4, 7)


@pytest.mark.parametrize("knows_sizes", [False, True])
def test_a_checkpoints_policy_is_drawn_in_the_pretrained_shape(knows_sizes: bool, tmp_path: Path) -> None:
    write_model(QWEN3, tmp_path)
    text = {**QWEN3.config["text_config"], "vocab_size": 300}
    settings = tiny(
        weights=str(tmp_path),
        backbone_config={**QWEN3.config, "text_config": text} if knows_sizes else None,
        tokenizer_vocabulary=None,
    )
    loaded, drawn = build(settings).state_dict(), build(settings, pretrained=False).state_dict()
    assert {name: weight.shape for name, weight in loaded.items()} == {n: w.shape for n, w in drawn.items()}
    assert not torch.equal(*(s["backbone.model.language_model.layers.0.mlp.up_proj.weight"] for s in (loaded, drawn)))


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path: Path) -> None:
    publish(QWEN3, tmp_path)  # 64 tokens
    train_tokenizer(INSTRUCTIONS, 300, "qwen_long").save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigError, match=r"tokenizer\.json: expected at most 64 tokens .* got 300"):
        build(tiny(weights=str(tmp_path), backbone_config=None, tokenizer_vocabulary=None))


def test_frozen_parts_are_not_trained() -> None:
    policy = build(tiny(freeze=FreezeConfig(vision_encoder=True, word_embeddings=True)))
    frozen = {name for name, parameter in policy.named_parameters() if not parameter.requires_grad}
    assert "backbone.model.language_model.embed_tokens.weight" in frozen
    assert all("visual" in name or "embed_tokens" in name for name in frozen)
    assert policy.action_query.requires_grad


def test_adapters_are_added() -> None:
    policy = build(tiny(lora=LoraConfig(rank=2, alpha=4.0)))
    trained = [name for name, parameter in policy.named_parameters() if parameter.requires_grad]
    assert any("lora_" in name for name in trained)
    assert not any("base_layer" in name or "visual" in name for name in trained)


def test_more_queries_and_a_short_prompt_are_one_field_each() -> None:
    settings = tiny(action_queries=3)
    assert answer(build(settings), settings).shape == (1, 4, 7)
    short = tiny(prompt=PromptSpec(template="qwen_short", max_tokens=64))
    assert answer(build(short), short).shape == (1, 4, 7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text_config": {"hidden_sise": 8}}, r"policy\.backbone_config\.text_config\.hidden_sise: expected one of"),
        ({"model_type": "llama"}, r"policy\.backbone_config\.model_type: expected one of qwen3_vl, qwen3_vl_moe, got"),
        ({"vision_config": 3}, r"policy\.backbone_config\."),
        ({"text_config": {"hidden_size": "big"}}, r"policy\.backbone_config\..*hidden_size"),
    ],
)
def test_a_wrong_backbone_config_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(tiny(backbone_config={**QWEN3.config, **fields}))
