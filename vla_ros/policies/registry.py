"""Backbone families by name: the only place that knows them all."""

from typing import Any

from vla_ros.contract import ImageSpec
from vla_ros.policies.backbone import Backbone
from vla_ros.policies.qwen3_vl import Qwen3VLBackbone

FAMILIES: dict[str, type[Backbone]] = {"qwen3_vl": Qwen3VLBackbone}


def from_scratch(family: str, config: dict[str, Any], image: ImageSpec, image_start: int) -> Backbone:
    """A backbone of random weights; `config` goes to the family's transformers config as it is."""
    return FAMILIES[family].from_scratch(config, image, image_start)
