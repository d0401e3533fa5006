"""The exported graph answers as the policy does, for every backbone."""

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("torch")

import onnxruntime as ort
import torch
from torch import Tensor

from test.policies.case import Case
from test.policies.cases import CASES
from vla_ros.export import onnx
from vla_ros.export.graph import PolicyGraph
from vla_ros.export.linear import find_linear_layers
from vla_ros.export.lowering import Plan, lower
from vla_ros.policies.action_head import HeadConfig
from vla_ros.policies.sequence import place_queries
from vla_ros.policies.vla_policy import VLAPolicy

MOST_TOKENS = 20

DENSE = [case for case in CASES if "moe" not in case.name]

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def answers(case: Case, queries: int = 1) -> tuple[PolicyGraph, list[tuple[Tensor, Tensor, Tensor]], list[Tensor]]:
    """The graph of a policy, its feeds for two prompts, and what the whole policy answered before."""
    # a wider head than the other tests have: few neurons may all be dead, and zero equals zero
    policy = VLAPolicy(
        case.build(), chunk_size=2, head=HeadConfig(trunk=64, widths=(64, 32)), action_queries=queries
    ).eval()
    torch.nn.init.normal_(policy.action_query)
    inputs = case.inputs()
    start, end = case.image_start, case.image_start + case.image.image_tokens
    inputs.input_ids[1, :start] = inputs.input_ids[0, :start]  # what stands in front of the image never changes
    with torch.no_grad():
        expected = list(policy(*inputs.arguments))
        words = policy.backbone.word_embeddings(inputs.input_ids)
        embeds = place_queries(words, inputs.query_index, policy.backbone.embed_queries(policy.action_query))[:, end:]
    places = inputs.query_index - end
    feeds = [
        (inputs.pixel_values[row : row + 1], embeds[row : row + 1, : place + queries], places[row : row + 1])
        for row, place in enumerate(places.tolist())
    ]
    return PolicyGraph(policy, inputs.input_ids[0, :start].tolist()), feeds, expected


@every_case
@torch.no_grad()
def test_a_constant_prefix_changes_no_answer(case: Case) -> None:
    graph, feeds, expected = answers(case)
    for feed, whole in zip(feeds, expected, strict=True):
        torch.testing.assert_close(graph(*feed)[0], whole, atol=1e-6, rtol=1e-6)


@every_case
@torch.no_grad()
def test_what_stands_behind_the_queries_changes_nothing(case: Case) -> None:
    """Not a bit: all experts run on every token, so that no sum depends on what others are routed to."""
    graph, [(pixels, text, place), _], _ = answers(case)
    around = [torch.cat([text, torch.full((1, 4, text.shape[2]), fill)], dim=1) for fill in (0.0, 7.0)]
    first, second = (graph(pixels, embeds, place) for embeds in around)
    assert torch.equal(first, second)


@pytest.mark.parametrize(("case", "queries"), [*((case, 1) for case in CASES), (DENSE[-1], 2)], ids=str)
@torch.no_grad()
def test_onnx_runtime_answers_as_torch_does(case: Case, queries: int, tmp_path: Path) -> None:
    graph, feeds, _ = answers(case, queries)
    model = onnx.trace(graph, MOST_TOKENS, opset=20)
    lower(model, find_linear_layers(model), Plan(layers={}, smoothing={}))
    onnx.simplify(model)
    ir.save(model, tmp_path / "policy.onnx", external_data="policy.onnx.data")
    session = ort.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    got = []
    for feed in feeds:
        named = {name: value.detach().numpy() for name, value in zip(onnx.INPUTS, feed, strict=True)}
        got.append(session.run(None, named)[0][0])
    # in float64, as torch's own float32 is nearly as far from it as what is tested here
    exact = torch.stack([graph.double()(pixels.double(), text, place)[0] for pixels, text, place in feeds]).numpy()
    assert np.linalg.norm(np.stack(got) - exact) <= 1e-6 * np.linalg.norm(exact)


@every_case
def test_every_linear_layer_is_found_under_its_name_with_its_weights(case: Case) -> None:
    graph, feeds, _ = answers(case)
    model = onnx.trace(graph, MOST_TOKENS, opset=20)
    layers = find_linear_layers(model)
    weights = dict(graph.policy.named_parameters())
    seen: list[Tensor] = []
    with torch.no_grad(), _Recorder(seen):
        graph(*feeds[0])
    assert len(layers) == len(seen)
    for layer, weight in zip(layers, seen, strict=True):
        torch.testing.assert_close(layer.weight(), weight.T, atol=0, rtol=0)
        assert layer.shape == weight.T.shape
        assert layer.name in weights or f"{layer.name}.weight" in weights


@pytest.mark.parametrize("case", DENSE, ids=str)
def test_the_last_layer_runs_for_the_queries_alone(case: Case) -> None:
    """But for a mixture of experts, which takes tokens as rows of a matrix."""
    graph, _, _ = answers(case)
    model = onnx.trace(graph, MOST_TOKENS, opset=20)
    shapes = {layer.name: layer.node.outputs[0].shape for layer in find_linear_layers(model)}
    rows = {name: shape[1] for name, shape in shapes.items() if shape is not None and len(shape) == 3}
    narrowed = {name for name in rows if rows[name] == len(graph.policy.action_query)}
    last = max(int(layer) for name in narrowed for layer in re.findall(r"layers\.(\d+)\.", name))
    layer = {name.rpartition(".")[2] for name in rows if f".layers.{last}." in name and name not in narrowed}
    assert layer == {"q_proj", "k_proj", "v_proj"}
    assert all(f".layers.{last}." in name for name in narrowed)


class _Recorder(torch.overrides.TorchFunctionMode):
    """Keeps the weight of every linear layer that runs."""

    def __init__(self, seen: list[Tensor]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.nn.functional.linear:
            self._seen.append(args[1])
        return func(*args, **(kwargs or {}))
