"""Which layers are quantised, and that moving difficulty between inputs and weights changes no answer."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("torch")

import onnxruntime as ort
import torch

from test.export.test_graph import MOST_TOKENS, answers
from test.policies.case import Case
from test.policies.case_kosmos2 import KOSMOS2
from test.policies.case_paligemma import PALIGEMMA2
from test.policies.case_qwen3_vl import DENSE, MIXTURE
from vla_ros.errors import ConfigError
from vla_ros.export import onnx
from vla_ros.export.calibration import observe
from vla_ros.export.config import ExportConfig
from vla_ros.export.linear import find_linear_layers
from vla_ros.export.lowering import Plan, lower
from vla_ros.export.planning import make_plan


@pytest.mark.parametrize("case", [DENSE, MIXTURE, KOSMOS2, PALIGEMMA2], ids=str)
@torch.no_grad()
def test_smoothing_alone_changes_no_answer(case: Case, tmp_path: Path) -> None:
    """It is the same product with its factors elsewhere: in norms, in front of layers, in weights."""
    graph, feeds, expected = answers(case)
    model = onnx.trace(graph, MOST_TOKENS, opset=20)
    layers = find_linear_layers(model)
    plan = make_plan(layers, observe(graph, feeds), ExportConfig(precision="int8"))
    assert plan.smoothing
    lower(model, layers, Plan(layers={}, smoothing=plan.smoothing))
    onnx.simplify(model)
    ir.save(model, tmp_path / "policy.onnx", external_data="policy.onnx.data")
    session = ort.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    for feed, whole in zip(feeds, expected, strict=True):
        named = {name: value.numpy() for name, value in zip(onnx.INPUTS, feed, strict=True)}
        (actions,) = session.run(None, named)
        assert np.abs(actions[0] - whole.numpy()).max() <= 2e-5 * np.abs(whole.numpy()).max()


@torch.no_grad()
def test_all_layers_but_the_kept_ones_are_quantised() -> None:
    graph, feeds, _ = answers(DENSE)
    layers = find_linear_layers(onnx.trace(graph, MOST_TOKENS, opset=20))
    seen = observe(graph, feeds)
    plan = make_plan(layers, seen, ExportConfig(precision="int8", keep=("head.*", "*.visual.blocks.1.*")))
    left = {layer.name for layer in layers} - set(plan.layers)
    assert all(name.startswith("head.") or ".visual.blocks.1." in name for name in left)
    assert sum(".visual.blocks.1." in name for name in left) == 4
    assert all(plan.layers[name].input_scale > 0 for name in plan.layers)


@torch.no_grad()
def test_four_bits_leave_layers_alone_whose_inputs_are_no_multiple_of_the_block() -> None:
    graph, feeds, _ = answers(DENSE)
    layers = find_linear_layers(onnx.trace(graph, MOST_TOKENS, opset=21))
    plan = make_plan(layers, observe(graph, feeds), ExportConfig(precision="int4", block_size=16))
    for layer in layers:
        is_planned = layer.shape[0] % 16 == 0 and not layer.name.startswith("head.")
        assert (layer.name in plan.layers) == is_planned


@torch.no_grad()
def test_a_pattern_that_keeps_nothing_is_refused() -> None:
    graph, feeds, _ = answers(DENSE)
    layers = find_linear_layers(onnx.trace(graph, MOST_TOKENS, opset=20))
    with pytest.raises(ConfigError, match=r"keep: expected patterns of linear layers such as .*, got 'hed\.\*'"):
        make_plan(layers, observe(graph, feeds), ExportConfig(precision="int8", keep=("hed.*",)))
