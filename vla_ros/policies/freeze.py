"""Which parameters keep their values during training (VLM4VLA, table 3)."""

from torch import nn

from vla_ros.policies.backbone import Backbone


def freeze(backbone: Backbone, vision_encoder: bool, word_embeddings: bool) -> None:
    """Take parts of the backbone out of training; what the forward never runs is always taken out.

    Unused parameters get no gradient, which DDP takes for an error and weight decay would still change.
    """
    parts: list[nn.Module] = list(backbone.unused_modules)
    if vision_encoder:
        parts.append(backbone.vision_encoder)
    if word_embeddings:
        parts.append(backbone.word_embeddings)
    for part in parts:
        part.requires_grad_(False)
