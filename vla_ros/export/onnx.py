"""A policy graph to ONNX: torch exports it with every linear layer as one node, and `linear.py` lowers those."""

import logging
import warnings
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import optimizer

from vla_ros.export.graph import PolicyGraph
from vla_ros.export.linear_node import DOMAIN, keep_linear
from vla_ros.export.query_rows import keep_query_rows

INPUTS = ("pixel_values", "text_embeds", "query_index")
OUTPUT = "actions"
TOKENS = "tokens"
"""The one dimension that is not fixed: the tokens behind the image, one of the bundle's buckets."""


def trace(graph: PolicyGraph, most_tokens: int, opset: int) -> ir.Model:
    """The graph, its last layer for the queries alone, with linear layers still as nodes of our own.

    Weights are those of the policy: nothing is copied.

    Args:
        most_tokens: the largest value of TOKENS.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    tokens = torch.export.Dim(TOKENS, min=2, max=most_tokens)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            graph.eval(),
            example_inputs(graph, most_tokens),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=({}, {1: tokens}, {}),
            custom_translation_table={torch.ops.aten.linear.default: keep_linear},
            opset_version=opset,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    model: ir.Model = program.model
    keep_query_rows(model)
    return model


def example_inputs(graph: PolicyGraph, tokens: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Zeros of the shapes that the graph takes."""
    backbone = graph.policy.backbone
    image = backbone.layout.image
    features = 3 * image.temporal_patch_size * image.patch_size_px**2
    return (
        torch.zeros(1, image.patches_per_side**2, features),
        torch.zeros(1, tokens, backbone.hidden_size),
        torch.zeros(1, dtype=torch.int64),
    )


def simplify(model: ir.Model) -> None:
    """Fold what is constant, but no weight; then take out what tells of the machine."""
    optimizer.optimize_ir(model, input_size_limit=2**20, output_size_limit=2**20)
    model.opset_imports.pop(DOMAIN, None)
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        # names of source lines and Python stacks of the exporting machine do not belong into a bundle
        node.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.doc_string = None
