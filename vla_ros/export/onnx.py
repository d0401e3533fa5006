"""A trained policy to a fixed-shape ONNX graph."""

import io
import logging
import warnings
from typing import Any

import onnx
import torch

from vla_ros.contract import PolicyContract
from vla_ros.policies.vla_policy import VLAPolicy

OPSET = 20
INPUTS = ("pixel_values", "input_ids", "query_index")


def example_inputs(contract: PolicyContract) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Zeros of the shapes that the graph takes."""
    image = contract.image
    features = 3 * image.temporal_patch_size * image.patch_size_px**2
    return (
        torch.zeros(1, image.patches_per_side**2, features),
        torch.zeros(1, contract.prompt.max_tokens, dtype=torch.int64),
        torch.full((1,), contract.prompt.max_tokens - 1, dtype=torch.int64),
    )


def export_onnx(policy: VLAPolicy, contract: PolicyContract) -> bytes:
    """The policy in fp32 as one self-contained ONNX file.

    Inputs `pixel_values` float32 [1, patches, features], `input_ids` int64 [1, max_tokens], `query_index` int64 [1];
    output `actions` float32 [1, chunk_size, 7], model units.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            policy.eval(),
            example_inputs(contract),
            input_names=list(INPUTS),
            output_names=["actions"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    model = program.model_proto
    # names of source lines and Python stacks of the exporting machine do not belong into a bundle
    for node in model.graph.node:
        del node.metadata_props[:]
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    onnx.checker.check_model(model)
    buffer = io.BytesIO()
    onnx.save_model(model, buffer)
    return buffer.getvalue()
