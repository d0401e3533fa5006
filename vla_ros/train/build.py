"""From a training config to a policy with random weights and the prompt encoder that belongs to it."""

import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import Tokenizer

from vla_ros.errors import ConfigError
from vla_ros.policies import registry
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.processing.prompt import IMAGE_TOKEN, PromptEncoder
from vla_ros.train.config import PolicyConfig


def build_prompt_encoder(tokenizer: Tokenizer, config: PolicyConfig) -> PromptEncoder:
    """The encoder of this policy's template, image size and length."""
    return PromptEncoder(tokenizer, config.prompt, config.image.image_tokens)


def build_policy(config: PolicyConfig, tokenizer: Tokenizer, seed: int) -> VLAPolicy:
    """The policy with weights drawn from `seed`.

    Raises:
        ConfigError: transformers refuses `backbone_config`.
    """
    torch.manual_seed(seed)
    fields = {**config.backbone_config, "image_token_id": tokenizer.token_to_id(IMAGE_TOKEN)}
    fields["text_config"] = {**fields.get("text_config", {}), "vocab_size": tokenizer.get_vocab_size()}
    image_start = build_prompt_encoder(tokenizer, config).image_start
    try:
        backbone = registry.from_scratch(config.backbone, fields, config.image, image_start)
    except ConfigError as error:
        raise ConfigError(f"policy.backbone_config.{error}") from error
    except (TypeError, ValueError, KeyError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"policy.backbone_config: expected fields of {config.backbone}, got: {reason}") from error
    return VLAPolicy(backbone, config.chunk_size, config.head)
