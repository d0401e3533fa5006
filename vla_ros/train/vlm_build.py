"""From a config to the vision-language model that is fine-tuned."""

import torch
from tokenizers import Tokenizer

from vla_ros.policies.backbone import Layout
from vla_ros.policies.freeze import freeze
from vla_ros.policies.language_model import LanguageModel
from vla_ros.recipe import RECIPES
from vla_ros.train.build import build_backbone, build_prompt_encoder
from vla_ros.train.parallel import decoder_layers
from vla_ros.train.vlm_config import VlmConfig


def build_language_model(
    config: VlmConfig, tokenizer: Tokenizer, spare_tokens: int, pretrained: bool = True
) -> LanguageModel:
    """The model as fine-tuning starts from it; what is not pretrained is drawn from the config's seed.

    Args:
        spare_tokens: random weights get so many tokens more than their tokenizer knows; pretrained ones have some.
        pretrained: False does not read the pretrained weights, for a checkpoint that replaces them anyhow.

    Raises:
        ConfigError: the family refuses `backbone_config`, or `weights` cannot be had.
    """
    torch.manual_seed(config.seed)
    policy = config.policy
    image_start = build_prompt_encoder(tokenizer, policy, config.recipe).image_start
    layout = Layout(image=policy.image, image_start=image_start, recipe=RECIPES[config.recipe])
    backbone = build_backbone(policy, layout, tokenizer, pretrained)
    if policy.weights is None and spare_tokens:
        backbone.model.resize_token_embeddings(tokenizer.get_vocab_size() + spare_tokens, mean_resizing=False)
    freeze(backbone, policy.freeze.vision_encoder, policy.freeze.word_embeddings)
    if config.gradient_checkpointing:
        backbone.enable_gradient_checkpointing()
    module = LanguageModel(backbone, policy.weights if pretrained else None)
    # transformers' name, under which accelerate looks for what FSDP gathers at once
    module._no_split_modules = decoder_layers(backbone.model, backbone.language_model)  # type: ignore[assignment]
    return module
