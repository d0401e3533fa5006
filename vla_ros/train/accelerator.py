"""Where a run computes: what its config says, and nothing else that `accelerate launch` may say."""

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, GradientAccumulationPlugin
from torch.distributed.fsdp import MixedPrecisionPolicy

from vla_ros.errors import ConfigError
from vla_ros.train.config import RunConfig

SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)
"""Kinds of training in which no process holds all weights."""


def check_launch(config: RunConfig) -> None:
    """Refuse a device that is not there, what `accelerate launch` was told otherwise, and a batch that its processes
    cannot share equally; before anything is read.

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
    is_sharded = any(environment.get(f"ACCELERATE_USE_{name}", "").lower() == "true" for name in ("FSDP", "DEEPSPEED"))
    if config.device == "cpu" and is_launched and is_sharded:
        raise ConfigError("device: expected cuda, as FSDP and DeepSpeed of `accelerate launch` run on GPUs, got cpu")
    if is_told_cpu and "MASTER_ADDR" in environment and "RANK" not in environment:
        raise ConfigError(
            "accelerate launch: --num_processes: expected 1 with --cpu, where it starts one process whatever one asks "
            "for, got more; `torchrun --standalone --nproc_per_node N -m vla_ros.cli train CONFIG` starts N on CPUs"
        )
    launched = environment.get("ACCELERATE_MIXED_PRECISION", "no")  # which is also what it says when it was not told
    if launched not in ("no", config.precision):
        raise ConfigError(f"precision: expected {launched} as in `accelerate launch`, got {config.precision}")
    config.optimizer.samples_per_pass(int(environment.get("WORLD_SIZE", "1")))


def make_accelerator(config: RunConfig) -> Accelerator:
    """Join the processes of this run.

    Raises:
        ConfigError: the config and `accelerate launch` contradict each other, or the batch cannot be shared equally.
    """
    check_launch(config)
    if AcceleratorState._shared_state and PartialState().distributed_type == DistributedType.NO:
        AcceleratorState._reset_state(reset_partial_state=True)  # an earlier run of this process, e.g. of a benchmark
    fsdp = fsdp_plugin(config)
    accelerator = Accelerator(
        cpu=config.device == "cpu",
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        # a plugin, because a plain number gives way to the launcher's environment
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=config.optimizer.accumulation_steps,
            # else every process keeps whole gradients from pass to pass, which is what FSDP is to avoid
            sync_each_batch=fsdp is not None,
        ),
        fsdp_plugin=fsdp,
    )
    if accelerator.distributed_type in SHARDED and config.optimizer.ema_decay is not None:
        raise ConfigError(
            f"optimizer.ema_decay: expected none under {accelerator.distributed_type.value}, whose processes hold "
            f"a part of the weights each, got {config.optimizer.ema_decay}"
        )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        _complete_deepspeed(config, accelerator)
    return accelerator


def fsdp_plugin(config: RunConfig) -> FullyShardedDataParallelPlugin | None:
    """What `accelerate launch` says of FSDP, in the precision of the run; None where it does not use FSDP.

    In bfloat16 only weights are gathered so, and only for computing. accelerate's own choice would also round inputs,
    targets, losses and the sums of gradients.

    Raises:
        ConfigError: it is FSDP1.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return None
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise ConfigError(f"accelerate launch: fsdp_version: expected 2, got {version}")
    low = torch.bfloat16 if config.precision == "bf16" else None
    policy = MixedPrecisionPolicy(
        param_dtype=low, reduce_dtype=torch.float32 if low else None, output_dtype=None, cast_forward_inputs=False
    )
    return FullyShardedDataParallelPlugin(mixed_precision_policy=policy)


def _complete_deepspeed(config: RunConfig, accelerator: Accelerator) -> None:
    """Fill in what DeepSpeed's own file may leave to us; what it says otherwise is an error.

    Raises:
        ConfigError: the file contradicts the training config.
    """
    settings = accelerator.state.deepspeed_plugin.deepspeed_config
    optimizer = config.optimizer
    ours = {
        "train_batch_size": optimizer.batch_size,
        "train_micro_batch_size_per_gpu": optimizer.samples_per_pass(accelerator.num_processes),
        "gradient_accumulation_steps": optimizer.accumulation_steps,
        "gradient_clipping": optimizer.gradient_clip or 0.0,  # 0 does not clip
    }
    for name, value in ours.items():
        given = settings.get(name, "auto")
        if given not in ("auto", value):
            raise ConfigError(f"{name}: expected auto or {value} in DeepSpeed's config, got {given}")
        settings[name] = value
