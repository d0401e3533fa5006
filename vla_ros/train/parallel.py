"""How a run is spread over processes: from accelerate's own config file, or from what `accelerate launch` has set."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from vla_ros.config import check_numbers
from vla_ros.errors import ConfigError

Strategy = Literal["single", "ddp", "fsdp", "zero1", "zero2", "zero3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """Attributes:
    strategy: `fsdp` is PyTorch's FSDP2, `zero1` to `zero3` are DeepSpeed's stages.
    processes: one GPU each.
    machines: that they run on, equally many on each.
    shards: processes that share one copy of the weights; fewer than `processes` under hybrid sharding.
    reshards: FSDP frees a gathered layer after the forward pass and gathers it again in the backward pass.
    layers: class names of the modules that FSDP gathers one at a time; empty takes the model's decoder layers.
    recomputes: FSDP's own activation checkpointing of those layers.
    """

    strategy: Strategy
    processes: int = 1
    machines: int = 1
    shards: int = 1
    reshards: bool = True
    layers: tuple[str, ...] = ()
    recomputes: bool = False

    def __post_init__(self) -> None:
        check_numbers(self, "processes", "machines", "shards", least=1)
        if self.processes % self.machines:
            raise ValueError(f"machines: expected a divisor of {self.processes} processes, got {self.machines}")
        if self.processes % self.shards:
            raise ValueError(f"shards: expected a divisor of {self.processes} processes, got {self.shards}")

    @property
    def text(self) -> str:
        """In words, for a person."""
        names = {"single": "one process", "ddp": "DDP", "fsdp": "FSDP"}
        name = names.get(self.strategy, f"ZeRO-{self.strategy[-1]}")
        if self.processes == 1:
            return name
        hybrid = f", {self.shards} to one copy of the weights" if 1 < self.shards < self.processes else ""
        return f"{name}, {self.processes} processes{hybrid}"


def from_file(path: Path) -> Parallel:
    """What `accelerate launch --config_file PATH` starts.

    Raises:
        ConfigError: accelerate refuses the file, or it asks for something that this project does not train with.
    """
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    try:
        config = load_config_from_file(str(path))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: expected a config file of `accelerate launch`, got: {error}") from error
    if not isinstance(config, ClusterConfig):
        raise ConfigError(f"{path}: compute_environment: expected LOCAL_MACHINE, got {config.compute_environment}")
    kind = str(getattr(config.distributed_type, "value", config.distributed_type))
    settings = _settings(path, kind, config)
    sharding = config.parallelism_config or {}
    shard_size = int(sharding.get("parallelism_config_dp_shard_size", config.num_processes))
    found = _build(str(path), kind, config.num_processes, shard_size, settings)
    return replace(found, machines=config.num_machines) if found.processes > 1 else found


def _settings(path: Path, kind: str, config: Any) -> dict[str, Any]:
    """The part of the file that belongs to the strategy, without the prefix of its keys."""
    if kind == "FSDP":
        return {name.removeprefix("fsdp_"): value for name, value in (config.fsdp_config or {}).items()}
    settings = dict(config.deepspeed_config or {}) if kind == "DEEPSPEED" else {}
    if "deepspeed_config_file" in settings:
        raise ConfigError(
            f"{path}: deepspeed_config.deepspeed_config_file: expected the stage in `zero_stage`, got another file"
        )
    return settings


def from_environment(environment: Mapping[str, str] = os.environ) -> Parallel:
    """What this process was started as; one process where nobody set anything.

    Raises:
        ConfigError: `accelerate launch` was asked for something that this project does not train with.
    """
    processes = int(environment.get("WORLD_SIZE", "1"))
    shard_size = int(environment.get("PARALLELISM_CONFIG_DP_SHARD_SIZE", processes))
    kind, prefix = ("MULTI_GPU" if processes > 1 else "NO"), ""
    if environment.get("ACCELERATE_USE_FSDP", "false") == "true":
        kind, prefix = "FSDP", "FSDP_"
    if environment.get("ACCELERATE_USE_DEEPSPEED", "false") == "true":
        kind, prefix = "DEEPSPEED", "ACCELERATE_DEEPSPEED_"
    settings = {
        name.removeprefix(prefix).lower().replace("transformer_cls", "transformer_layer_cls"): value
        for name, value in environment.items()
        if prefix and name.startswith(prefix)
    }
    found = _build("accelerate launch", kind, processes, shard_size, settings)
    return replace(found, machines=processes // int(environment.get("LOCAL_WORLD_SIZE", processes)))


def _build(source: str, kind: str, processes: int, shard_size: int, settings: dict[str, Any]) -> Parallel:
    if kind == "NO" or (kind.startswith("MULTI_") and processes == 1):
        return Parallel(strategy="single")
    if kind in ("MULTI_GPU", "MULTI_CPU"):
        return Parallel(strategy="ddp", processes=processes)
    if kind == "DEEPSPEED":
        return _zero(source, processes, settings)
    if kind != "FSDP":
        raise ConfigError(f"{source}: distributed_type: expected NO, MULTI_GPU, FSDP or DEEPSPEED, got {kind}")
    if int(settings.get("version", 1)) != 2:
        raise ConfigError(f"{source}: fsdp_version: expected 2, got {settings.get('version', 1)}")
    _refuse(source, "fsdp_offload_params", settings.get("offload_params", False), (False, "false"))
    policy = str(settings.get("auto_wrap_policy", "NO_WRAP"))
    if policy != "TRANSFORMER_BASED_WRAP":
        raise ConfigError(f"{source}: fsdp_auto_wrap_policy: expected TRANSFORMER_BASED_WRAP, got {policy}")
    named = settings.get("transformer_layer_cls_to_wrap") or ""
    return Parallel(
        strategy="fsdp",
        processes=processes,
        shards=shard_size,
        reshards=_is_true(settings.get("reshard_after_forward", True)),
        layers=tuple(name.strip() for name in str(named).split(",") if name.strip()),
        recomputes=_is_true(settings.get("activation_checkpointing", False)),
    )


def _zero(source: str, processes: int, settings: dict[str, Any]) -> Parallel:
    stages: dict[int, Strategy] = {1: "zero1", 2: "zero2", 3: "zero3"}
    stage = int(settings.get("zero_stage", 2))
    if stage not in stages:
        raise ConfigError(f"{source}: zero_stage: expected 1, 2 or 3, got {stage}")
    for name in ("offload_optimizer_device", "offload_param_device"):
        _refuse(source, name, settings.get(name, "none"), ("none",))
    return Parallel(strategy=stages[stage], processes=processes, shards=processes)


def _refuse(source: str, name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{source}: {name}: expected {allowed[0]}, got {value}; the plan knows no offloading")


def _is_true(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in ("true", "1")


def decoder_layers(model: nn.Module, language_model: nn.Module) -> list[str]:
    """Class names of the blocks that a transformers model does not want split, those of its language model only.

    These are what FSDP gathers one at a time, through the `_no_split_modules` of the module that is trained. Vision
    blocks stay in the root unit: the families run the parts of these blocks in their own order, and FSDP gathers a
    module's weights only when that module itself is called.
    """
    unsplit = set(getattr(model, "_no_split_modules", None) or ())
    return sorted({type(module).__name__ for module in language_model.modules()} & unsplit)
