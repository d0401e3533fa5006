"""Backbone families by name: the only place that knows them all."""

from importlib import import_module

from vla_ros.contract import BackboneName
from vla_ros.policies.backbone import Backbone

FAMILIES: dict[BackboneName, tuple[str, str]] = {
    "paligemma": ("vla_ros.policies.paligemma", "PaliGemmaBackbone"),
    "kosmos2": ("vla_ros.policies.kosmos2", "Kosmos2Backbone"),
    "qwen2_5_vl": ("vla_ros.policies.qwen2_5_vl", "Qwen2_5VLBackbone"),
    "qwen3_vl": ("vla_ros.policies.qwen3_vl", "Qwen3VLBackbone"),
}
"""Module and class, imported when asked for: transformers takes a second for each family's modelling code."""


def family(name: BackboneName) -> type[Backbone]:
    """The class of a family."""
    module, cls = FAMILIES[name]
    backbone: type[Backbone] = getattr(import_module(module), cls)
    return backbone
