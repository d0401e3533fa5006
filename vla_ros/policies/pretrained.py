"""Pretrained models from a hub id or a local folder: safetensors only, and nothing in them is executed."""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tokenizers import Tokenizer
from transformers import PreTrainedConfig

from vla_ros.contract import BackboneName
from vla_ros.errors import ConfigError
from vla_ros.policies import registry
from vla_ros.policies.architecture import check_agreement, fields_of, refused
from vla_ros.policies.attention import IMPLEMENTATION
from vla_ros.policies.backbone import Backbone, Layout

FILES = ("*.safetensors", "*.json")


def load_backbone(
    weights: str, config: dict[str, Any] | None, layout: Layout, family: BackboneName, dtype: torch.dtype
) -> Backbone:
    """A backbone with pretrained weights.

    Args:
        weights: hub id or local folder, as transformers' `save_pretrained` writes it.
        config: fields that its config.json must agree with; None takes them all from there.

    Raises:
        ConfigError: it cannot be had, is of another family or size, holds no safetensors, or a weight is missing,
            left over or of another shape.
    """
    folder = find_folder(weights)
    cls = registry.family(family)
    found = read_config(folder, cls)
    if config is not None:
        with fields_of("policy.backbone_config"):
            check_agreement(config, cls.config_classes(), found)
    with refused(f"{folder}: expected safetensors of a {found.model_type} model"):
        loaded: Any = cls.architectures[found.model_type].from_pretrained(
            folder,
            config=found,
            dtype=dtype,
            attn_implementation=IMPLEMENTATION,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_report` refuses them by name
        )
    model, report = loaded
    check_report(report, folder)
    with fields_of("policy.backbone_config"), refused(f"model_type: expected a {found.model_type} model"):
        return cls(model, layout)


def load_tokenizer(weights: str) -> Tokenizer:
    """The tokenizer of a pretrained model, from its tokenizer.json.

    Raises:
        ConfigError: it cannot be had.
    """
    return read_tokenizer(find_folder(weights) / "tokenizer.json")


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json.

    Raises:
        ConfigError: it is not there, or is none.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: expected the tokenizer as one tokenizer.json file, got nothing")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises bare Exception
        raise ConfigError(f"{path}: expected a tokenizer, got: {error}") from error


def find_folder(weights: str) -> Path:
    """The local folder of a model, downloaded from the hub where it is not one already.

    Raises:
        ConfigError: it is neither a folder nor to be had from the hub or from its cache.
    """
    if Path(weights).is_dir():
        return Path(weights)
    try:
        return Path(snapshot_download(weights, allow_patterns=list(FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"policy.weights: expected a local folder or a model of the Hugging Face hub, got {weights!r}: {reason}; "
            f"with a network run `hf download {weights}` once, gated models after `hf auth login`"
        ) from error


def read_config(folder: Path, cls: type[Backbone]) -> PreTrainedConfig:
    """The config.json of a model of this family.

    Raises:
        ConfigError: there is none, or it is another family's, or of quantised weights.
    """
    path = folder / "config.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        model_type, quantization = fields.get("model_type"), fields.get("quantization_config")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: expected a model's config, got: {error}") from error
    if model_type not in cls.architectures:
        raise ConfigError(f"{path}: model_type: expected one of {', '.join(cls.architectures)}, got {model_type!r}")
    if quantization is not None:  # transformers would turn some kinds into rounded weights with a warning
        raise ConfigError(
            f"{path}: quantization_config: expected nothing, as whole weights are trained, got {quantization}"
        )
    with refused(f"{path}: expected the config of a {model_type} model"):
        return cls.config_classes()[model_type].from_pretrained(folder)


def check_report(report: dict[str, Any], source: Path | str) -> None:
    """Refuse what transformers loads with a warning.

    Raises:
        ConfigError: a weight is missing, left over or of another shape.
    """
    # the language head, which the recipe does not read, is the only part that may be left over
    unexpected = sorted(key for key in report["unexpected_keys"] if "lm_head" not in key.split("."))
    reshaped = sorted(f"{key} {list(found)} for {list(wanted)}" for key, found, wanted in report["mismatched_keys"])
    kinds = {"missing": sorted(report["missing_keys"]), "unexpected": unexpected, "of another shape": reshaped}
    for kind, keys in kinds.items():
        if keys:
            raise ConfigError(f"{source}: expected the model's weights, got {len(keys)} {kind}, such as {keys[0]}")
