"""A checkpoint of the authors' code as a run of ours, which `vla-ros export` turns into a bundle."""

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vla_ros.errors import ConfigError
from vla_ros.policies.upstream import load_upstream
from vla_ros.train import checkpoint, run_folder
from vla_ros.train.build import build_policy
from vla_ros.train.config import TrainConfig
from vla_ros.train.data import load_data


def import_upstream(config: TrainConfig, path: Path, skip_bad: bool = False) -> Path:
    """Write the run's folder with these weights as its only checkpoint.

    Args:
        config: how the weights were trained, `recipe: upstream`; its data give statistics and instructions.
        path: the checkpoint, a `.safetensors` file or a PyTorch file of tensors alone.

    Returns:
        The checkpoint of ours.

    Raises:
        ConfigError: another recipe, a run that is there already, or weights that do not fit.
    """
    if config.recipe != "upstream":
        raise ConfigError(f"recipe: expected upstream for weights of the authors' code, got {config.recipe}")
    if checkpoint.latest(config.output) is not None:
        raise ConfigError(f"output: expected a new folder, got {config.output}, which has checkpoints already")
    weights = read_weights(path)
    data = load_data(config, skip_bad)
    policy = build_policy(
        config.policy, config.recipe, config.chunk_size, data.tokenizer, config.seed, pretrained=False
    )
    try:
        load_upstream(policy, weights)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    run_folder.begin(config, data.companions)
    state = checkpoint.State(step=0, companions=checkpoint.digest_of(data.companions))
    with checkpoint.staged(config.output, state) as folder:
        named = {f"policy.{name}": weight for name, weight in policy.state_dict().items()}
        checkpoint.save_tensors(folder / checkpoint.MODEL, named)
    return checkpoint.path_of(config.output, 0)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The `state_dict` in a checkpoint; nothing in the file is executed.

    Raises:
        ConfigError: it cannot be read, or holds more than tensors and plain containers.
    """
    content: Any
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: expected tensors by name, got: {reason}") from error
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    if not (isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values())):
        raise ConfigError(f"{path}: expected tensors by name, or a `state_dict` of them, got something else")
    return content
