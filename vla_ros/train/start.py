"""Where a run begins that goes on from an earlier one: with its weights and its tokenizer, on other data."""

from pathlib import Path

from tokenizers import Tokenizer
from torch import Tensor

from vla_ros.errors import ConfigError
from vla_ros.policies.pretrained import read_tokenizer
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.train import checkpoint, run_folder


def load_start(policy: VLAPolicy, run: Path) -> None:
    """Give a policy the best weights of a run of `vla-ros train`.

    Raises:
        ConfigError: that run trained another policy, or lacks a file.
        DatasetError: there is no such run, or it is damaged.
    """
    path = checkpoint.best(run)
    run_folder.check_files(run, path)
    try:
        policy.load_state_dict(policy_weights(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"start_from: expected a run of the same policy, got {run}: {reason}") from error


def load_start_tokenizer(run: Path) -> Tokenizer:
    """The tokenizer that belongs to those weights.

    Raises:
        ConfigError: the run has none.
    """
    try:
        return read_tokenizer(run / "tokenizer.json")
    except ConfigError as error:
        raise ConfigError(f"start_from: expected a run of vla-ros train, got {error}") from error


def policy_weights(path: Path) -> dict[str, Tensor]:
    """The policy's weights in a checkpoint, under its own names.

    Raises:
        DatasetError: `path` is no checkpoint, or it is damaged.
    """
    prefix = "policy."
    weights = checkpoint.load_model(path)
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
