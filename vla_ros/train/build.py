"""From a policy config to the policy, its tokenizer and the prompt encoder that belongs to it."""

import torch
from tokenizers import Tokenizer

from vla_ros.errors import ConfigError
from vla_ros.policies import registry
from vla_ros.policies.architecture import fields_of
from vla_ros.policies.backbone import Backbone, Layout
from vla_ros.policies.freeze import freeze
from vla_ros.policies.lora import add_adapters
from vla_ros.policies.pretrained import find_folder, load_backbone, load_tokenizer, read_config
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.processing.prompt import PromptEncoder
from vla_ros.processing.tokenizer import train_tokenizer
from vla_ros.recipe import RECIPES, RecipeName
from vla_ros.train.config import PolicyConfig


def load_or_train_tokenizer(config: PolicyConfig, instructions: list[str]) -> Tokenizer:
    """The tokenizer of the pretrained weights; for random weights one that is trained on the instructions.

    Raises:
        ConfigError: the pretrained one cannot be had.
    """
    if config.weights is not None:
        return load_tokenizer(config.weights)
    assert config.tokenizer_vocabulary is not None  # PolicyConfig refuses it
    return train_tokenizer(instructions, config.tokenizer_vocabulary, config.prompt.template)


def build_prompt_encoder(tokenizer: Tokenizer, config: PolicyConfig, recipe: RecipeName) -> PromptEncoder:
    """The encoder of this policy's template, image size and length."""
    return PromptEncoder(tokenizer, config.prompt, config.image.image_tokens, recipe, config.action_queries)


def build_policy(
    config: PolicyConfig,
    recipe: RecipeName,
    chunk_size: int,
    tokenizer: Tokenizer,
    seed: int,
    pretrained: bool = True,
) -> VLAPolicy:
    """The policy as training starts from it: what is not pretrained is drawn from `seed`; float32 weights.

    Args:
        pretrained: False draws all weights, for a checkpoint that replaces them anyhow.

    Raises:
        ConfigError: the family refuses `backbone_config`, or `weights` cannot be had or do not agree with it.
    """
    torch.manual_seed(seed)
    encoder = build_prompt_encoder(tokenizer, config, recipe)
    layout = Layout(image=config.image, image_start=encoder.image_start, recipe=RECIPES[recipe])
    policy = VLAPolicy(
        build_backbone(config, layout, tokenizer, pretrained), chunk_size, config.head, config.action_queries
    )
    freeze(policy.backbone, config.freeze.vision_encoder, config.freeze.word_embeddings)
    if config.lora is not None:
        add_adapters(policy.backbone, config.lora.rank, config.lora.alpha, config.lora.dropout)
    return policy


def build_backbone(config: PolicyConfig, layout: Layout, tokenizer: Tokenizer, pretrained: bool = True) -> Backbone:
    """The vision-language model alone, all of it trainable.

    Raises:
        ConfigError: as `build_policy`.
    """
    if config.weights is not None and pretrained and not config.from_scratch:
        backbone = load_backbone(config.weights, config.backbone_config, layout, config.backbone, torch.float32)
    else:
        backbone = _draw_backbone(config, layout, tokenizer)
    _check_vocabulary(tokenizer, backbone)
    return backbone


def _draw_backbone(config: PolicyConfig, layout: Layout, tokenizer: Tokenizer) -> Backbone:
    family = registry.family(config.backbone)
    if config.backbone_config is None:
        assert config.weights is not None  # PolicyConfig refuses it
        return family.draw(read_config(find_folder(config.weights), family), layout)
    fields = dict(config.backbone_config)
    if config.weights is None:  # its vocabulary is the one of the tokenizer that was trained with it
        fields["text_config"] = {**fields.get("text_config", {}), "vocab_size": tokenizer.get_vocab_size()}
    with fields_of("policy.backbone_config"):
        return family.from_config(fields, layout)


def _check_vocabulary(tokenizer: Tokenizer, backbone: Backbone) -> None:
    known = backbone.model.config.get_text_config().vocab_size
    if tokenizer.get_vocab_size() > known:
        raise ConfigError(
            f"tokenizer.json: expected at most {known} tokens as the model's word embeddings have, "
            f"got {tokenizer.get_vocab_size()}"
        )
