"""Where a run computes: what its config says, and nothing else that `accelerate launch` may say."""

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, GradientAccumulationPlugin

from vla_ros.errors import ConfigError
from vla_ros.train.config import RunConfig

SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)
"""Kinds of training in which no process holds all weights."""


def check_device(config: RunConfig) -> None:
    """Refuse a device that is not there, or another than `accelerate launch` was told; before anything is read.

    Raises:
        ConfigError: names both.
    """
    environment = os.environ
    is_launched = "ACCELERATE_MIXED_PRECISION" in environment  # by accelerate, not by torchrun
    is_told_cpu = environment.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if config.device == "cuda" and is_told_cpu:
        raise ConfigError("device: expected cpu as in `accelerate launch --cpu`, got cuda")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: expected a CUDA GPU that PyTorch can use, got none; set `device: cpu`")
    if config.device == "cpu" and is_launched and not is_told_cpu and "RANK" in environment:
        raise ConfigError("device: expected cuda as `accelerate launch` starts one process per GPU, got cpu")
    if is_told_cpu and "MASTER_ADDR" in environment and "RANK" not in environment:
        raise ConfigError(
            "accelerate launch: --num_processes: expected 1 with --cpu, where it starts one process whatever one asks "
            "for, got more; `torchrun --standalone --nproc_per_node N -m vla_ros.cli train CONFIG` starts N on CPUs"
        )
    launched = environment.get("ACCELERATE_MIXED_PRECISION", "no")  # which is also what it says when it was not told
    if launched not in ("no", config.precision):
        raise ConfigError(f"precision: expected {launched} as in `accelerate launch`, got {config.precision}")


def make_accelerator(config: RunConfig) -> Accelerator:
    """Join the processes of this run.

    Raises:
        ConfigError: the config and `accelerate launch` contradict each other, or the batch cannot be shared equally.
    """
    check_device(config)
    if AcceleratorState._shared_state and PartialState().distributed_type == DistributedType.NO:
        AcceleratorState._reset_state(reset_partial_state=True)  # an earlier run of this process, e.g. of a benchmark
    accelerator = Accelerator(
        cpu=config.device == "cpu",
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        # a plugin, because a plain number gives way to the launcher's environment
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=config.optimizer.accumulation_steps),
    )
    _check_batch(config, accelerator)
    if accelerator.distributed_type in SHARDED and config.optimizer.ema_decay is not None:
        raise ConfigError(
            f"optimizer.ema_decay: expected none under {accelerator.distributed_type.value}, whose processes hold "
            f"a part of the weights each, got {config.optimizer.ema_decay}"
        )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        _complete_deepspeed(config, accelerator)
    return accelerator


def _check_batch(config: RunConfig, accelerator: Accelerator) -> None:
    parts = accelerator.num_processes * config.optimizer.accumulation_steps
    if config.optimizer.batch_size % parts:
        raise ConfigError(
            f"optimizer.batch_size: expected a multiple of processes * accumulation_steps = {parts}, "
            f"got {config.optimizer.batch_size}"
        )


def _complete_deepspeed(config: RunConfig, accelerator: Accelerator) -> None:
    """Fill in what DeepSpeed's own file may leave to us; what it says otherwise is an error.

    Raises:
        ConfigError: the file contradicts the training config.
    """
    settings = accelerator.state.deepspeed_plugin.deepspeed_config
    optimizer = config.optimizer
    parts = accelerator.num_processes * optimizer.accumulation_steps
    ours = {
        "train_batch_size": optimizer.batch_size,
        "train_micro_batch_size_per_gpu": optimizer.batch_size // parts,
        "gradient_accumulation_steps": optimizer.accumulation_steps,
        "gradient_clipping": optimizer.gradient_clip or 0.0,  # 0 does not clip
    }
    for name, value in ours.items():
        given = settings.get(name, "auto")
        if given not in ("auto", value):
            raise ConfigError(f"{name}: expected auto or {value} in DeepSpeed's config, got {given}")
        settings[name] = value
