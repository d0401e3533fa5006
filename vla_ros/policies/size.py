"""Numbers of parameters, from modules on torch's meta device: nothing is loaded or drawn."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from vla_ros.contract import BackboneName
from vla_ros.policies import registry
from vla_ros.policies.action_head import ActionHead, HeadConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySize:
    """Parameters of a policy, those that are shared counted once.

    Attributes:
        backbone: of the model without its language head, which is what the policy holds.
        language_model: of the model as it is published; larger where its language head is not tied to the embeddings.
            This is what the paper lists as a model's size.
        head: of the policy head (VLM4VLA, table 9).
        action_queries: of their embeddings.
    """

    backbone: int
    language_model: int
    head: int
    action_queries: int

    @property
    def policy(self) -> int:
        """Everything that the policy holds."""
        return self.backbone + self.head + self.action_queries


def measure(
    family: BackboneName, config: dict[str, Any], head: HeadConfig, chunk_size: int, action_queries: int = 1
) -> PolicySize:
    """The size of a policy whose transformers config has these fields.

    Raises:
        ConfigError: a field that the family does not know.
    """
    cls = registry.family(family)
    built = cls.read_config(config)
    width = action_queries * built.get_text_config().hidden_size
    full: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(built)]
    with torch.device("meta"):
        backbone = cls.architectures[built.model_type]._from_config(built)
        return PolicySize(
            backbone=_count(backbone),
            language_model=_count(full._from_config(built)),
            head=_count(ActionHead(width, chunk_size, head)),
            action_queries=width,
        )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
