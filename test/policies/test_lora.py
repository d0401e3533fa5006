"""Adapters on every family's language model."""

import pytest

pytest.importorskip("torch")

import torch
from peft.tuners.lora import LoraLayer

from test.policies.case import Case
from test.policies.cases import CASES
from vla_ros.policies.lora import add_adapters, merge_adapters
from vla_ros.policies.vla_policy import VLAPolicy

every_case = pytest.mark.parametrize("case", [case for case in CASES if case.recipe == "paper"], ids=str)


def adapt(case: Case) -> VLAPolicy:
    policy = case.policy()
    add_adapters(policy.backbone, rank=2, alpha=4.0, dropout=0.0)
    return policy


def answer(policy: VLAPolicy, case: Case) -> torch.Tensor:
    output: torch.Tensor = policy(*case.inputs().arguments)
    return output


def train(policy: VLAPolicy, case: Case) -> None:
    optimizer = torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], lr=0.01)
    for _ in range(2):  # the first step moves only one of an adapter's two factors
        optimizer.zero_grad()
        answer(policy, case).square().sum().backward()
        optimizer.step()


@every_case
def test_new_adapters_change_no_answer(case: Case) -> None:
    torch.testing.assert_close(answer(adapt(case), case), answer(case.policy(), case), atol=1e-6, rtol=1e-6)


@every_case
def test_only_adapters_query_and_head_are_trained(case: Case) -> None:
    policy = adapt(case)
    train(policy, case)
    trained = [name for name, parameter in policy.named_parameters() if parameter.requires_grad]
    assert all("lora_" in name or name.startswith(("head.", "action_query")) for name in trained)
    assert all(parameter.grad is None for parameter in policy.parameters() if not parameter.requires_grad)
    blocks = {name.split(".lora_")[0] for name in trained if "lora_" in name}
    assert any("attn" in name for name in blocks)
    assert all("vision" not in name and "visual" not in name for name in blocks)


@every_case
@pytest.mark.filterwarnings("error")
def test_merged_adapters_leave_the_plain_model_with_the_same_answers(case: Case) -> None:
    policy = adapt(case)
    train(policy, case)
    expected = answer(policy, case)
    assert not torch.allclose(expected, answer(case.policy(), case))
    merge_adapters(policy.backbone)
    assert policy.state_dict().keys() == case.policy().state_dict().keys()
    torch.testing.assert_close(answer(policy, case), expected, atol=1e-5, rtol=1e-5)


def test_rank_alpha_and_dropout_mean_what_they_mean_in_peft() -> None:
    policy = next(case for case in CASES if case.name == "qwen3_vl").policy()
    add_adapters(policy.backbone, rank=2, alpha=3.0, dropout=0.25)
    layers = [module for module in policy.modules() if isinstance(module, LoraLayer)]
    assert layers
    for layer in layers:
        assert layer.r == {"default": 2}
        assert layer.scaling == {"default": 1.5}
        assert layer.get_submodule("lora_dropout.default").p == 0.25
