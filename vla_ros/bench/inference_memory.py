"""Do all rows fit into memory at once? Asked before anything is loaded: the system would kill something else."""

from collections.abc import Sequence
from dataclasses import dataclass

from vla_ros.bench.inference_rows import COMPILE, Row
from vla_ros.bundle import GIB, Precision
from vla_ros.errors import ConfigError
from vla_ros.export.random_policy import CHUNK_SIZE
from vla_ros.policies import registry
from vla_ros.policies.architecture import fields_of
from vla_ros.policies.size import measure
from vla_ros.train.config import PolicyConfig

BYTES: dict[Precision, float] = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1.03, "fp8": 4, "int4": 0.65}
"""Of one weight in an engine's memory; 8-bit floats are computed in fp32 on a CPU."""
TORCH_GIB, COMPILE_GIB, ENGINE_GIB, METER_GIB = 0.6, 0.9, 0.25, 1.0
"""What a process needs besides its weights: libraries, buffers, what a compiler leaves."""
EXPORT_SHARE, EXPORT_GIB = 1.15, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How many there are.

    Attributes:
        policy: all that torch holds.
        graph: without the word embeddings, which an engine does not hold.
    """

    policy: int
    graph: int


def count_weights(config: PolicyConfig) -> Weights:
    """Of a policy config, without building anything.

    Raises:
        ConfigError: it does not give its backbone's sizes, or with a field that the family does not know.
    """
    if config.backbone_config is None:
        raise ConfigError("policy.backbone_config: expected the model's sizes for random weights, got nothing")
    fields = dict(config.backbone_config)
    if config.tokenizer_vocabulary is not None:
        fields["text_config"] = {**fields.get("text_config", {}), "vocab_size": config.tokenizer_vocabulary}
    with fields_of("policy.backbone_config"):
        text = registry.family(config.backbone).read_config(fields).get_text_config()
        total = measure(config.backbone, fields, config.head, CHUNK_SIZE, config.action_queries).policy
    return Weights(policy=total, graph=total - text.vocab_size * text.hidden_size)


def resident_gib(row: Row, weights: Weights) -> float:
    """What a row holds once it is loaded, by estimate."""
    if row.is_torch:
        own = COMPILE_GIB if row.engine == COMPILE else TORCH_GIB
        return weights.policy * BYTES[row.precision] / GIB + own
    return weights.graph * BYTES[row.precision] / GIB + ENGINE_GIB


def loading_gib(row: Row, weights: Weights) -> float:
    """What it holds at most while it loads: torch's weights are drawn in fp32."""
    if row.is_torch:
        return max(resident_gib(row, weights), weights.policy * 4 / GIB + TORCH_GIB)
    return resident_gib(row, weights) + 0.15 * weights.graph * BYTES[row.precision] / GIB


def in_loading_order(rows: Sequence[Row], weights: Weights) -> list[Row]:
    """Those first that need far more to load than to stay."""
    return sorted(rows, key=lambda row: resident_gib(row, weights) - loading_gib(row, weights))


def needed_gib(rows: Sequence[Row], weights: Weights) -> float:
    """At the worst moment of loading the rows one after the other beside the machine's meter, and running them."""
    held, most = METER_GIB, 0.0
    for row in in_loading_order(rows, weights):
        most = max(most, held + loading_gib(row, weights))
        held += resident_gib(row, weights)
    return max(most, held)


def check_memory(rows: Sequence[Row], weights: Weights, is_exporting: bool, available_gib: float | None) -> None:
    """Refuse what would not fit.

    Args:
        is_exporting: bundles are to be written first, one after the other.
        available_gib: None where the system does not say.

    Raises:
        ConfigError: names what each row needs and what would fit.
    """
    if available_gib is None:
        return
    export = weights.policy * 4 / GIB * EXPORT_SHARE + EXPORT_GIB
    if is_exporting and export > available_gib:
        raise ConfigError(
            f"bench inference: expected {export:.1f} GiB of free memory to export a policy of "
            f"{weights.policy / 1e9:.2f} billion weights, got {available_gib:.1f}; take a smaller one of "
            "config/policy/, or measure a bundle: --bundle"
        )
    needed = needed_gib(rows, weights)
    if needed > available_gib:
        each = ", ".join(f"{row.name} {resident_gib(row, weights):.1f}" for row in rows)
        raise ConfigError(
            f"bench inference: expected {needed:.1f} GiB of free memory for all rows at once ({each}; the meter "
            f"{METER_GIB:.1f}), got {available_gib:.1f}; stop what else runs, name fewer with --rows, leave "
            "torch's out with --no-torch, or take a smaller policy of config/policy/"
        )
