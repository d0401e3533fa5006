"""ActionQueries and head on a backbone."""

import pytest

pytest.importorskip("torch")

import torch

from test.policies.case import Case
from test.policies.cases import CASES
from vla_ros.policies.action_head import ActionHead, HeadConfig
from vla_ros.policies.vla_policy import VLAPolicy

QWEN3 = next(case for case in CASES if case.name == "qwen3_vl")


def make_policy(queries: int) -> VLAPolicy:
    return VLAPolicy(QWEN3.build(), chunk_size=4, head=HeadConfig(trunk=16, widths=(16, 8)), action_queries=queries)


def test_queries_start_as_zero_and_are_trained() -> None:
    policy = make_policy(queries=3)
    assert policy.action_query.shape == (3, 24)
    assert not policy.action_query.any()
    policy(*QWEN3.inputs(queries=3).arguments).square().sum().backward()
    assert policy.action_query.grad is not None
    assert policy.action_query.grad.any(dim=1).all()


@torch.no_grad()
def test_the_head_reads_the_states_of_all_queries_side_by_side() -> None:
    policy = make_policy(queries=3)
    torch.nn.init.normal_(policy.action_query)
    inputs = QWEN3.inputs(queries=3)
    states = policy.backbone(*inputs.arguments, policy.action_query)
    assert policy.hidden_size == 72
    assert torch.equal(policy.hidden(*inputs.arguments), torch.cat(states.unbind(1), dim=-1))
    assert policy(*inputs.arguments).shape == (2, 4, 7)


@torch.no_grad()
def test_the_arm_is_bounded_and_the_gripper_is_not() -> None:
    head = ActionHead(hidden_size=8, chunk_size=3, config=HeadConfig(trunk=16, widths=(16,)))
    for bias in (head.get_parameter("arm.2.bias"), head.get_parameter("gripper.2.bias")):
        torch.nn.init.constant_(bias, 9.0)
    actions = head(torch.zeros(1, 8))
    assert actions[..., :6].max() <= 1
    assert actions[..., 6].min() > 8


@torch.no_grad()
def test_rows_of_the_chunk_are_the_arms_outputs_in_groups_of_six() -> None:
    head = ActionHead(hidden_size=8, chunk_size=3, config=HeadConfig(trunk=16, widths=(16,)))
    features = torch.randn(1, 8)
    flat = torch.tanh(head.arm(head.trunk(features)))
    assert torch.equal(head(features)[0, 1, :6], flat[0, 6:12])


def test_linear_layers_start_as_the_authors_do() -> None:
    head = ActionHead(hidden_size=64, chunk_size=10, config=HeadConfig())
    bound = (6 / (64 + 32)) ** 0.5  # Xavier, uniform
    assert 0.9 * bound < head.get_parameter("trunk.0.weight").abs().max() <= bound
    assert not head.get_parameter("trunk.0.bias").any()


@pytest.mark.parametrize("case", [case for case in CASES if case.recipe == "paper"], ids=str)
def test_every_family_takes_other_query_counts(case: Case) -> None:
    policy = VLAPolicy(case.build(), chunk_size=2, head=HeadConfig(trunk=16, widths=(16,)), action_queries=2)
    assert policy(*case.inputs(queries=2).arguments).shape == (2, 2, 7)
