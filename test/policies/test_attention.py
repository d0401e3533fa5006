"""Fused kernels and explicit matmuls: one answer."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from test.policies.case import Case
from test.policies.cases import CASES, run
from vla_ros.policies import attention


@pytest.mark.parametrize("case", CASES, ids=str)
@torch.no_grad()
def test_what_a_gpu_computes_is_what_the_cpu_computes(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of GPUs, taken on the CPU, whose fused kernel reads the same arguments."""
    backbone, inputs = case.build(), case.inputs(queries=2)
    expected = run(backbone, inputs)
    monkeypatch.setattr(attention, "_is_fused", lambda _: True)
    torch.testing.assert_close(run(backbone, inputs), expected, atol=3e-5, rtol=1e-5)


def test_without_a_mask_only_a_causal_module_is_causal() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 5, 4, generator=generator)
    module: Any = torch.nn.Module().eval()
    sees_all, _ = attention.attend(module, query, key, value, None, scaling=0.5)
    module.is_causal = True
    causal, _ = attention.attend(module, query, key, value, None, scaling=0.5)
    torch.testing.assert_close(causal[:, -1], sees_all[:, -1])
    torch.testing.assert_close(causal[:, 0], value[:, :, 0])
    assert not torch.allclose(sees_all[:, 0], causal[:, 0])


def test_a_softcap_bounds_the_scores() -> None:
    query = torch.full((1, 1, 1, 1), 100.0)
    key = torch.tensor([1.0, -1.0])[None, None, :, None]
    value = torch.tensor([1.0, 0.0])[None, None, :, None]
    mixed, _ = attention.attend(torch.nn.Module().eval(), query, key, value, None, scaling=1.0, softcap=2.0)
    expected = torch.softmax(torch.tensor([2.0, -2.0]), dim=0)[0]
    torch.testing.assert_close(mixed[0, 0, 0, 0], expected)
