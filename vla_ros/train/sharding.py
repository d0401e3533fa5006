"""Bytes per GPU of weights, gradients and optimizer, for every way in which a run can be spread."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from vla_ros.train.parallel import Parallel

FLOAT32 = 4
DEEPSPEED_BUCKET = 500_000_000
"""Elements of DeepSpeed's buffers for reducing gradients and gathering weights, its default."""
DEEPSPEED_LIVE = 1_000_000_000
"""Elements that ZeRO-3 keeps gathered at most, its default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One line of a plan.

    Attributes:
        name: what it is.
        bytes: per GPU.
        how: the product that gives `bytes`, for a person to check; empty where it was counted.
    """

    name: str
    bytes: int
    how: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Numbers of elements.

    Attributes:
        all: parameters.
        trained: those that get gradients.
        layer: those of the largest layer that FSDP gathers by itself.
        root: those in no such layer: vision encoder, word embeddings, head.
        root_trained: those of them that get gradients.
    """

    all: int
    trained: int
    layer: int
    root: int
    root_trained: int


def measure(module: nn.Module, layers: Iterable[str]) -> Sizes:
    """The sizes of a module whose FSDP units are the modules of the classes `layers`."""
    names = set(layers)
    units = [list(unit.parameters()) for unit in module.modules() if type(unit).__name__ in names]
    inside = {id(parameter) for unit in units for parameter in unit}
    parameters = list(module.parameters())
    root = [parameter for parameter in parameters if id(parameter) not in inside]
    return Sizes(
        all=_count(parameters),
        trained=_count(p for p in parameters if p.requires_grad),
        layer=max((_count(unit) for unit in units), default=0),
        root=_count(root),
        root_trained=_count(p for p in root if p.requires_grad),
    )


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def states(sizes: Sizes, parallel: Parallel, width: int, averages: bool) -> list[Part]:
    """What every process holds from the first step to the last.

    Args:
        width: bytes of a number that is computed with: 2 for bfloat16, 4 for float32.
        averages: whether there is a moving average of the weights.
    """
    shards = parallel.shards
    if parallel.strategy.startswith("zero"):
        return _zero_states(sizes, int(parallel.strategy[-1]), shards, width)
    parts = [
        _part("weights, float32", sizes.all, FLOAT32, shards),
        _part("gradients, float32", sizes.trained, FLOAT32, shards),
        _part("AdamW's two moments, float32", sizes.trained, 2 * FLOAT32, shards),
    ]
    if averages:
        parts.append(_part("moving average, float32", sizes.all, FLOAT32, shards))
    if parallel.strategy == "ddp":
        parts.append(_part("DDP's buckets of gradients", sizes.trained, FLOAT32))
    return parts


def _zero_states(sizes: Sizes, stage: int, shards: int, width: int) -> list[Part]:
    """DeepSpeed computes with a copy of the weights in `width` bytes; the float32 ones that it updates are shared."""
    return [
        _part("weights to compute with", sizes.all, width, shards if stage == 3 else 1),
        _part("gradients", sizes.trained, width, shards if stage >= 2 else 1),
        _part("weights to update, float32", sizes.trained, FLOAT32, shards),
        _part("AdamW's two moments, float32", sizes.trained, 2 * FLOAT32, shards),
    ]


def during_passes(sizes: Sizes, parallel: Parallel, width: int) -> list[Part]:
    """What the strategy holds beside these while a forward and a backward pass run, at most."""
    if parallel.strategy == "fsdp":
        return _fsdp_passes(sizes, parallel, width)
    bucket = min(DEEPSPEED_BUCKET, sizes.all)
    if parallel.strategy == "zero3":
        return [
            _part("gathered weights", min(DEEPSPEED_LIVE, sizes.all), width),
            _part("bucket of gathered weights, bucket of gradients", bucket, 2 * width),
        ]
    if parallel.strategy.startswith("zero"):
        return [_part("two buckets of gradients", bucket, 2 * width)]
    return []


def _fsdp_passes(sizes: Sizes, parallel: Parallel, width: int) -> list[Part]:
    parts = [_part("root unit, gathered all the time", sizes.root, width)]
    if parallel.reshards:
        # the layer at work, the buffer that it was copied from, and the next one on its way
        parts.append(_part("three layers gathered or on their way", sizes.layer, 3 * width))
    else:
        parts.append(_part("all layers, gathered until the backward pass", sizes.all - sizes.root, width))
        parts.append(_part("two layers on their way", sizes.layer, 2 * width))
    # the root unit's gradients grow while activations go: they count at the end of the backward pass
    layer = min(sizes.layer, sizes.trained)
    parts.append(_part("a layer's gradients, and two layers' on their way in float32", layer, width + 2 * FLOAT32))
    return parts


def during_update(sizes: Sizes, parallel: Parallel, width: int) -> list[Part]:
    """What the optimizer's step holds beside the states."""
    parts = [_part("AdamW's temporary tensors", sizes.trained, FLOAT32, parallel.shards)]
    if parallel.strategy.startswith("zero"):
        parts.append(_part("gradients in float32", sizes.trained, FLOAT32, parallel.shards))
        parts.append(_part("bucket of gathered weights", min(DEEPSPEED_BUCKET, sizes.all), width))
    return parts


def after_passes(sizes: Sizes, parallel: Parallel, width: int) -> list[Part]:
    """What FSDP holds at the end of the backward pass, when activations are gone and the root's gradients leave."""
    if parallel.strategy != "fsdp":
        return []
    return [
        _part("root unit, gathered all the time", sizes.root, width),
        _part("root unit's gradients, and their buffer in float32", sizes.root_trained, width + FLOAT32),
    ]


def _part(name: str, elements: int, width: int, shards: int = 1) -> Part:
    how = f"{elements / 1e6:.1f} M x {width} B" + (f" / {shards}" if shards > 1 else "")
    return Part(name=name, bytes=-(-elements * width // shards), how=how)
