"""Weights trained with the authors' code (github.com/CladernyJorn/VLM4VLA at 20fedc9) into a policy of ours.

Their LightningModule holds its policy as `model`: the published model with its language head as `backbone`, the
ActionQuery as `action_token`, and the head as `act_head`. The names below `backbone` are those of the transformers
version that they trained with, which they do not pin; transformers knows them all and converts them.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from vla_ros.errors import ConfigError
from vla_ros.policies.architecture import refused
from vla_ros.policies.pretrained import check_report
from vla_ros.policies.vla_policy import VLAPolicy

WRAPPERS = ("_forward_module.", "module.", "model.")
"""What DeepSpeed, DDP and Lightning put in front of every name, in this order, each or none."""
HEAD = {"act_head.mlp.": "trunk.", "act_head.actions.mlp.": "arm.", "act_head.gripper.mlp.": "gripper."}


def load_upstream(policy: VLAPolicy, weights: Mapping[str, Tensor]) -> None:
    """Replace all weights of a policy.

    Args:
        policy: built with `recipe: upstream`, the sizes of the trained one and one ActionQuery.
        weights: the `state_dict` of a checkpoint of the authors' code, converted from DeepSpeed's shards by theirs.

    Raises:
        ConfigError: a weight is missing, unknown or of another shape.
    """
    named = {_unwrap(name): weight for name, weight in weights.items()}
    backbone = {name.removeprefix("backbone."): w for name, w in named.items() if name.startswith("backbone.")}
    rest = {_rename(name): w for name, w in named.items() if not name.startswith("backbone.")}
    if "action_query" in rest:
        rest["action_query"] = rest["action_query"][None]  # theirs is one vector, of which further queries are copies
    _check(rest, {name: w for name, w in policy.state_dict().items() if not name.startswith("backbone.")})
    converted = {f"backbone.model.{name}": weight for name, weight in _convert(policy, backbone).items()}
    policy.load_state_dict(converted | rest)


def _check(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for kind, names in (("missing", expected.keys() - weights.keys()), ("unknown", weights.keys() - expected.keys())):
        if names:
            raise ConfigError(f"checkpoint: expected a policy of the authors' code, got {kind} {min(names)}")
    for name, weight in expected.items():
        if weights[name].shape != weight.shape:
            shape = list(weights[name].shape)
            raise ConfigError(f"checkpoint: {name}: expected shape {list(weight.shape)}, got {shape}")


def _unwrap(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _rename(name: str) -> str:
    if name == "action_token":
        return "action_query"
    for theirs, ours in HEAD.items():
        if name.startswith(theirs):
            return f"head.{ours}{name.removeprefix(theirs)}"
    return name


def _convert(policy: VLAPolicy, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the published model under any version's names, as the policy's own model has them."""
    model: Any = policy.backbone.model
    # transformers converts names for the published class; for the bare model it takes some of today's for old ones
    published: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(model.config)]
    with refused("checkpoint: backbone: expected a policy of the authors' code"):
        full, report = published.from_pretrained(
            None,
            config=model.config,
            state_dict=weights,
            dtype=model.dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_report` refuses them by name
        )
    check_report(report, "checkpoint: backbone")
    state = full.state_dict()
    return {name: state.get(name, state.get(f"{full.base_model_prefix}.{name}")) for name in model.state_dict()}
