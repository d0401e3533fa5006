"""A run's state to and from a checkpoint, in one process or in many."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from vla_ros.errors import DatasetError
from vla_ros.train import checkpoint
from vla_ros.train.accelerator import SHARDED
from vla_ros.train.optimization import MovingAverage

WEIGHTS, OPTIMIZER = "weights/", "optimizer/"


def save(
    accelerator: Accelerator,
    output: Path,
    state: checkpoint.State,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage | None,
) -> None:
    """Write a checkpoint; every process calls this.

    Raises:
        VlaRosError: it could not be written; the older ones are as they were.
    """
    if accelerator.distributed_type in SHARDED:
        _save_sharded(accelerator, output, state, module)
    elif accelerator.is_main_process:
        weights = accelerator.unwrap_model(module).state_dict()
        training = {f"{OPTIMIZER}{name}": tensor for name, tensor in _moments(optimizer).items()}
        if average is not None:
            training |= {f"{WEIGHTS}{name}": tensor for name, tensor in weights.items()}
        with checkpoint.staged(output, state) as folder:
            checkpoint.save_tensors(folder / checkpoint.MODEL, average.module.state_dict() if average else weights)
            checkpoint.save_tensors(folder / checkpoint.TRAINING, training)
    accelerator.wait_for_everyone()


def _save_sharded(accelerator: Accelerator, output: Path, state: checkpoint.State, module: nn.Module) -> None:
    weights = accelerator.get_state_dict(module)
    is_main = accelerator.is_main_process
    partial = nullcontext(checkpoint.partial_path(output, state.step))
    with checkpoint.staged(output, state) if is_main else partial as folder:
        accelerator.wait_for_everyone()  # now the folder is there for all
        accelerator.save_state(str(folder / checkpoint.SHARDED))
        if is_main:
            checkpoint.save_tensors(folder / checkpoint.MODEL, weights)
        accelerator.wait_for_everyone()  # now all is written, and the main process may rename it


def restore(
    accelerator: Accelerator,
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage | None,
) -> checkpoint.State:
    """Read a checkpoint back into the parts of a run with the same config.

    Raises:
        DatasetError: it is damaged, or of another kind of run.
    """
    state = checkpoint.load_state(path)
    if accelerator.distributed_type in SHARDED:
        if not (path / checkpoint.SHARDED).is_dir():
            raise DatasetError(f"{path / checkpoint.SHARDED}: expected a checkpoint of a sharded run, got none")
        accelerator.load_state(str(path / checkpoint.SHARDED))
        return state
    model, training = checkpoint.load_model(path), checkpoint.load_part(path, checkpoint.TRAINING)
    weights = _part(training, WEIGHTS)
    try:
        if average is not None:
            average.module.load_state_dict(model)
        accelerator.unwrap_model(module).load_state_dict(model if average is None else weights)
        _restore_moments(optimizer, _part(training, OPTIMIZER))
    except (RuntimeError, KeyError, ValueError) as error:
        raise DatasetError(f"{path}: expected the weights of this config, got: {error}") from error
    return state


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    states = optimizer.state_dict()["state"].items()
    return {f"{index}/{name}": torch.as_tensor(value) for index, state in states for name, value in state.items()}


def _restore_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the moments back; learning rates and the like stay as the config has them."""
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
