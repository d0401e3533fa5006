"""Low-rank adapters on the language model instead of full fine-tuning, through peft."""

from typing import Any

from torch import nn

from vla_ros.policies.backbone import Backbone

# peft takes seconds to import, and only runs with adapters need it


def add_adapters(backbone: Backbone, rank: int, alpha: float, dropout: float) -> None:
    """Freeze the backbone and put an adapter beside every linear layer of its language model's blocks.

    An adapter starts as zero, so the model's answers do not change. In a mixture of experts only attention gets some:
    experts and router are no linear layers there.
    """
    from peft import LoraConfig, inject_adapter_in_model

    backbone.requires_grad_(False)
    scale: Any = alpha  # peft takes fractions, though it is annotated as an integer
    settings = LoraConfig(r=rank, lora_alpha=scale, lora_dropout=dropout, target_modules="all-linear")
    inject_adapter_in_model(settings, backbone.language_model)


def merge_adapters(backbone: Backbone) -> None:
    """Add every adapter to its layer's weight and remove it: the model has its plain modules and names again."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(backbone.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            _replace(backbone, name, module.get_base_layer())


def _replace(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(root.get_submodule(parent), attribute, module)
