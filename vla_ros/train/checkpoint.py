"""A training state on disk: one safetensors file, replaced atomically, that resumes bit by bit on a CPU."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vla_ros.errors import DatasetError

FILE_NAME = "checkpoint.safetensors"
COMPANIONS = ("statistics.json", "tokenizer.json")
"""The files beside a checkpoint without which its weights mean something else."""


def digest_of(texts: Mapping[str, str]) -> dict[str, str]:
    """Sha256 of each companion's text, by file name."""
    return {name: hashlib.sha256(texts[name].encode()).hexdigest() for name in COMPANIONS}


def save(
    path: Path,
    step: int,
    groups: dict[str, dict[str, Tensor]],
    optimizer: torch.optim.Optimizer,
    companions: dict[str, str],
) -> None:
    """Write everything under a temporary name, flush it to disk, then replace: a kill leaves the old file whole.

    Args:
        groups: state dicts by name, e.g. `policy` and `ema`.
        companions: what `digest_of` says of the files that belong to these weights.
    """
    tensors = {f"{group}/{name}": tensor for group, state in groups.items() for name, tensor in state.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()}
    # tied weights share memory, which safetensors refuses
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    temporary = path.with_suffix(".partial")
    save_file(tensors, temporary, metadata={"step": str(step), **companions})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path) -> tuple[int, dict[str, dict[str, Tensor]]]:
    """Steps done, and tensors by group (`optimizer` included).

    Raises:
        DatasetError: no such file, or it is no checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            step = int(file.metadata()["step"])
            groups: dict[str, dict[str, Tensor]] = {}
            for key in file.keys():  # noqa: SIM118 (no mapping)
                group, name = key.split("/", 1)
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: expected a checkpoint of vla-ros train, got: {error}") from error
    return step, groups


def load_companions(path: Path) -> dict[str, str]:
    """Sha256 of each companion that these weights were trained with, by file name.

    Raises:
        DatasetError: no such file, or a checkpoint that does not say.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise DatasetError(f"{path}: expected a checkpoint of vla-ros train, got: {error}") from error
    missing = [name for name in COMPANIONS if name not in metadata]
    if missing:
        raise DatasetError(f"{path}: metadata: expected the sha256 of {' and '.join(missing)}, got none; train anew")
    return {name: metadata[name] for name in COMPANIONS}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the moments back; learning rates and the like stay as the config has them."""
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
