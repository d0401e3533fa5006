"""Tiny policies of every family as the graphs that bundles hold, in every precision."""

from pathlib import Path

import onnx_ir as ir
import torch

from test.policies.case import Case, Inputs
from vla_ros.bundle import GRAPH, WEIGHTS
from vla_ros.export.calibration import Feed, observe
from vla_ros.export.config import ExportConfig
from vla_ros.export.graph import PolicyGraph
from vla_ros.export.linear import find_linear_layers
from vla_ros.export.lowering import lower
from vla_ros.export.onnx import simplify, trace
from vla_ros.export.planning import make_plan
from vla_ros.policies.sequence import place_queries

BLOCK_SIZE = 8
"""Divides the tiny policies' hidden sizes; a real policy's is 128."""

CONFIGS = {
    "fp32": ExportConfig(precision="fp32"),
    "fp16": ExportConfig(precision="fp16"),
    "bf16": ExportConfig(precision="bf16"),
    "int8": ExportConfig(precision="int8"),
    "int8-fp16": ExportConfig(precision="int8", compute="fp16"),
    "fp8-fp16": ExportConfig(precision="fp8", compute="fp16"),
    "fp8-bf16": ExportConfig(precision="fp8", compute="bf16"),
    "int4-fp16": ExportConfig(precision="int4", compute="fp16", block_size=BLOCK_SIZE),
}
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@torch.no_grad()
def export(case: Case, config: ExportConfig, folder: Path) -> tuple[Path, tuple[int, int]]:
    """The graph of a case, and two values of its dimension `tokens`."""
    policy, inputs = case.policy(), case.inputs()
    ids, start = inputs.input_ids, case.image_start
    end = start + case.image.image_tokens
    words = policy.backbone.word_embeddings(ids)
    queries = policy.backbone.embed_queries(policy.action_query)
    embeds = place_queries(words, inputs.query_index, queries)[:, end:]
    graph = PolicyGraph(policy.to(DTYPES[config.compute_dtype]), ids[0, :start].tolist()).eval()
    tokens = embeds.shape[1]
    model = trace(graph, tokens, config.opset)
    layers = find_linear_layers(model)
    seen = observe(graph, [_feed(inputs, embeds, row, end) for row in range(2)])
    lower(model, layers, make_plan(layers, seen, config))
    simplify(model)
    ir.save(model, folder / GRAPH, external_data=WEIGHTS)
    return folder / GRAPH, (tokens - 1, tokens)


def _feed(inputs: Inputs, embeds: torch.Tensor, row: int, end: int) -> Feed:
    one = slice(row, row + 1)
    return inputs.pixel_values[one], embeds[one], inputs.query_index[one] - end
