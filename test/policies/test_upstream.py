"""Checkpoints named as the authors' code names them (github.com/CladernyJorn/VLM4VLA at 20fedc9)."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from test.policies.case import Case
from test.policies.cases import CASES
from test.policies.test_pretrained import publish
from vla_ros.errors import ConfigError
from vla_ros.policies.action_head import HeadConfig
from vla_ros.policies.upstream import load_upstream
from vla_ros.policies.vla_policy import VLAPolicy

UPSTREAM = [case for case in CASES if case.recipe == "upstream"]
every_case = pytest.mark.parametrize("case", UPSTREAM, ids=str)
QWEN3 = next(case for case in UPSTREAM if case.family == "qwen3_vl")

# vlm4vla/model/policy_head/base_policy.py, FCDecoder: `mlp`, then `actions.mlp` and `gripper.mlp`, each a Sequential
# whose odd entries are activations
HEAD_SHAPES = {
    "act_head.mlp.0": (12, 24),
    "act_head.mlp.2": (1024, 12),
    "act_head.actions.mlp.0": (1024, 1024),
    "act_head.actions.mlp.2": (512, 1024),
    "act_head.actions.mlp.4": (256, 512),
    "act_head.actions.mlp.6": (24, 256),
    "act_head.gripper.mlp.0": (1024, 1024),
    "act_head.gripper.mlp.2": (512, 1024),
    "act_head.gripper.mlp.4": (256, 512),
    "act_head.gripper.mlp.6": (4, 256),
}


def empty_policy(case: Case) -> VLAPolicy:
    return VLAPolicy(case.build(seed=1), chunk_size=4, head=HeadConfig()).eval()


def checkpoint(backbone: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Drawn head and ActionQuery beside a backbone, as their LightningModule's state_dict has them."""
    generator = torch.Generator().manual_seed(2)
    weights = {"model.action_token": torch.randn(24, generator=generator)}
    for name, (outputs, inputs) in HEAD_SHAPES.items():
        weights[f"model.{name}.weight"] = torch.randn(outputs, inputs, generator=generator) * inputs**-0.5
        weights[f"model.{name}.bias"] = torch.randn(outputs, generator=generator)
    return weights | {f"model.backbone.{name}": weight for name, weight in backbone.items()}


def answer(case: Case, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    policy = empty_policy(case)
    load_upstream(policy, weights)
    output: torch.Tensor = policy(*case.inputs().arguments)
    return output


@every_case
@torch.no_grad()
def test_names_of_every_transformers_version_give_the_same_policy(case: Case, tmp_path: Path) -> None:
    """The hub's files keep the names of the version that a model came with, `state_dict` has today's."""
    today = publish(case, tmp_path).state_dict()
    published = load_file(tmp_path / "model.safetensors")
    assert torch.equal(answer(case, checkpoint(today)), answer(case, checkpoint(published)))


@every_case
@torch.no_grad()
def test_the_policy_computes_what_theirs_would(case: Case, tmp_path: Path) -> None:
    full = publish(case, tmp_path)
    weights = checkpoint(full.state_dict())
    inputs = case.inputs()
    unmodified = case.unmodified(empty_policy(case).backbone)
    own = {name.removeprefix("model."): weight for name, weight in full.state_dict().items()}
    unmodified.load_state_dict({name: own[name.removeprefix("model.")] for name in unmodified.state_dict()})
    query = weights["model.action_token"][None]
    hidden = case.reference(case, unmodified, *inputs.row(0), query)[-1]
    trunk = mlp(weights, "mlp", (0, 2), hidden)
    arm = mlp(weights, "actions.mlp", (0, 2, 4, 6), trunk).tanh().reshape(4, 6)
    gripper = mlp(weights, "gripper.mlp", (0, 2, 4, 6), trunk)
    expected = torch.cat([arm, gripper[:, None]], dim=-1)
    torch.testing.assert_close(answer(case, weights)[0], expected, atol=1e-4, rtol=1e-4)


def mlp(weights: dict[str, torch.Tensor], name: str, layers: tuple[int, ...], states: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        prefix = f"model.act_head.{name}.{layer}"
        states = weights[f"{prefix}.weight"] @ states + weights[f"{prefix}.bias"]
        states = states if layer == layers[-1] else states.relu()
    return states


@pytest.mark.parametrize("prefix", ["_forward_module.", "module.", ""])
@torch.no_grad()
def test_wrappers_in_front_of_the_names_do_not_matter(prefix: str, tmp_path: Path) -> None:
    weights = checkpoint(publish(QWEN3, tmp_path).state_dict())
    wrapped = {f"{prefix}{name}": weight for name, weight in weights.items()}
    assert torch.equal(answer(QWEN3, wrapped), answer(QWEN3, weights))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.action_token", "got missing action_query"),
        ("model.act_head.actions.mlp.6.bias", "got missing head.arm.6.bias"),
        ("model.backbone.model.language_model.norm.weight", "got 1 missing, such as .*language_model.norm.weight"),
    ],
)
def test_a_missing_weight_is_named(name: str, message: str, tmp_path: Path) -> None:
    weights = checkpoint(publish(QWEN3, tmp_path).state_dict())
    del weights[name]
    with pytest.raises(ConfigError, match=message):
        load_upstream(empty_policy(QWEN3), weights)


def test_a_weight_of_another_shape_is_named(tmp_path: Path) -> None:
    weights = checkpoint(publish(QWEN3, tmp_path).state_dict())
    weights["model.backbone.model.language_model.norm.weight"] = torch.zeros(25)
    with pytest.raises(
        ConfigError, match=r"^checkpoint: backbone: .* got 1 of another shape, such as .* \[25\] for \[24\]"
    ):
        load_upstream(empty_policy(QWEN3), weights)


def test_an_unknown_weight_is_named(tmp_path: Path) -> None:
    weights = checkpoint(publish(QWEN3, tmp_path).state_dict())
    weights["model.embed_state.weight"] = torch.zeros(1)
    with pytest.raises(ConfigError, match=r"got unknown embed_state\.weight"):
        load_upstream(empty_policy(QWEN3), weights)


def test_another_chunk_size_is_refused(tmp_path: Path) -> None:
    weights = checkpoint(publish(QWEN3, tmp_path).state_dict())
    policy = VLAPolicy(QWEN3.build(), chunk_size=10, head=HeadConfig())
    with pytest.raises(ConfigError, match=r"head\.arm\.6\.\w+: expected shape \[60.*\], got \[24"):
        load_upstream(policy, weights)
