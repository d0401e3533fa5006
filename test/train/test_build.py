"""Policy configs into policies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from test.policies.case import Case
from test.policies.cases import CASES
from test.policies.test_pretrained import publish
from vla_ros import config
from vla_ros.contract import PromptSpec
from vla_ros.errors import ConfigError, ContractError
from vla_ros.policies.action_head import HeadConfig
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.processing.image import prepare_image
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


def test_from_scratch_takes_shape_and_tokenizer_of_the_weights_but_not_the_weights(tmp_path: Path) -> None:
    state = write_model(QWEN3, tmp_path)
    settings = tiny(weights=str(tmp_path), backbone_config=None, tokenizer_vocabulary=None)
    pretrained, scratch = build(settings), build(replace(settings, from_scratch=True))
    for name, weight in pretrained.backbone.model.state_dict().items():
        assert torch.equal(weight, state[f"model.{name}"])
    shapes = {name: weight.shape for name, weight in scratch.state_dict().items()}
    assert shapes == {name: weight.shape for name, weight in pretrained.state_dict().items()}
    words = scratch.backbone.word_embeddings.weight
    assert not torch.equal(words, pretrained.backbone.word_embeddings.weight)
    assert torch.equal(words, build(replace(settings, from_scratch=True)).backbone.word_embeddings.weight)


def test_from_scratch_without_weights_is_said_already() -> None:
    with pytest.raises(ValueError, match="from_scratch: expected false where `weights` is not given, got true"):
        tiny(from_scratch=True)


def test_the_demos_policy_has_the_size_it_always_had() -> None:
    policy = build(config.load(POLICIES / "libero_object_tiny.yaml", PolicyConfig))
    assert sum(parameter.numel() for parameter in policy.parameters()) == pytest.approx(6.52e6, rel=0.01)


# the second image size, where Qwen2.5's squares of 28 px need one, and the prompt's length, as the files' comments say
RESOLUTIONS: dict[str, dict[int, tuple[int | None, int]]] = {
    "qwen3_vl": {224: (None, 144), 512: (None, 352), 768: (None, 672)},
    "qwen2_5_vl": {224: (None, 160), 512: (504, 420), 768: (756, 832)},
    "paligemma": {224: (None, 320)},
    "kosmos2": {224: (None, 128)},
}
SHIPPED = {
    path.stem: config.load(path, PolicyConfig) for path in sorted(POLICIES.glob("*.yaml")) if "libero" not in path.stem
}
# few and narrow layers; everything else stays as shipped
SHRUNKEN: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "embed_dim", "out_hidden_size", "projection_dim"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "moe_intermediate_size"), 48),
    **dict.fromkeys(("num_heads", "num_attention_heads", "num_key_value_heads", "attention_heads"), 2),
    **dict.fromkeys(("num_hidden_layers", "depth", "layers", "num_experts", "num_experts_per_tok"), 2),
    "head_dim": 16,
    "mrope_section": [4, 2, 2],
    "deepstack_visual_indexes": [0, 1],
    "fullatt_block_indexes": [1],
}


def shrink(fields: dict[str, Any]) -> dict[str, Any]:
    small = {name: SHRUNKEN.get(name, value) for name, value in fields.items() if name != "image_token_index"}
    return {name: shrink(value) if isinstance(value, dict) else value for name, value in small.items()}


def shrunken(name: str, size_px: int) -> PolicyConfig:
    shipped = SHIPPED[name]
    encoder_px, max_tokens = RESOLUTIONS[shipped.backbone][size_px]
    assert shipped.backbone_config is not None
    return replace(
        shipped,
        weights=None,
        tokenizer_vocabulary=400,
        backbone_config=shrink(shipped.backbone_config),
        image=replace(shipped.image, size_px=size_px, encoder_px=encoder_px),
        prompt=replace(shipped.prompt, max_tokens=max_tokens),
        head=HeadConfig(trunk=16, widths=(16,)),
    )


@pytest.mark.parametrize(
    ("name", "size_px"), [(name, size) for name, policy in SHIPPED.items() for size in RESOLUTIONS[policy.backbone]]
)
@torch.no_grad()
def test_every_shipped_file_reads_the_papers_resolutions(name: str, size_px: int) -> None:
    settings = shrunken(name, size_px)
    tokenizer = load_or_train_tokenizer(settings, INSTRUCTIONS)
    policy = build_policy(settings, "paper", 4, tokenizer, seed=0).eval()
    prompt = build_prompt_encoder(tokenizer, settings, "paper").encode(INSTRUCTIONS[0])
    pixels = torch.from_numpy(prepare_image(np.zeros((200, 200, 3), np.uint8), settings.image))
    ids, index = torch.from_numpy(prompt.input_ids)[None], torch.tensor([prompt.query_index])
    assert policy(pixels, ids, index).isfinite().all()
    assert settings.prompt.max_tokens - prompt.query_index > 45  # room for longer instructions
    if size_px == 224:
        assert settings.prompt == SHIPPED[name].prompt


def test_a_forgotten_prompt_length_is_named_with_the_number_to_write() -> None:
    settings = shrunken("qwen3_vl_2b", 512)
    forgetful = replace(settings, prompt=SHIPPED["qwen3_vl_2b"].prompt)
    with pytest.raises(ContractError, match=r"^prompt\.max_tokens: .*got 144; 351 leaves 64 for the instruction$"):
        build(forgetful)


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
