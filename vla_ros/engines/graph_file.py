"""A bundle's `policy.onnx`, looked at before any engine parses it."""

import onnx

from vla_ros.bundle import GRAPH, WEIGHTS, Bundle
from vla_ros.errors import BundleError

INPUTS = ("pixel_values", "text_embeds", "query_index")
OUTPUT = "actions"
DOMAINS = ("", "ai.onnx")
"""Of operators: any other would need code that is not in the bundle."""


def read_graph(bundle: Bundle) -> onnx.ModelProto:
    """The graph without its weights.

    Raises:
        BundleError: it is no ONNX, has other inputs or outputs than the contract says, operators of other domains, or
            weights elsewhere than in the bundle's own file.
    """
    source = bundle.path / GRAPH
    try:
        model = onnx.load_model_from_string(bundle.read(GRAPH))
    except Exception as error:  # protobuf's DecodeError, which onnx does not name
        raise BundleError(f"{source}: expected an ONNX graph, got: {' '.join(str(error).split())}") from error
    _check_domains(model, str(source))
    _check_attributes(model, str(source))
    _check_weights(model, str(source), bundle.manifest.files[WEIGHTS].size)
    _check_shapes(model, str(source), bundle)
    return model


def _check_domains(model: onnx.ModelProto, source: str) -> None:
    foreign = {node.domain for node in model.graph.node if node.domain not in DOMAINS}
    if foreign or model.functions:
        raise BundleError(
            f"{source}: operators: expected ONNX's own, got those of {', '.join(sorted(foreign)) or 'functions'}"
        )


def _check_attributes(model: onnx.ModelProto, source: str) -> None:
    """What we export has no graphs within graphs, and no weights but its initializers."""
    kinds = onnx.AttributeProto
    for node in model.graph.node:
        for attribute in node.attribute:
            is_tensor = attribute.type == kinds.TENSOR and attribute.t.data_location != onnx.TensorProto.EXTERNAL
            if not is_tensor and attribute.type not in (kinds.INT, kinds.INTS, kinds.FLOAT, kinds.FLOATS, kinds.STRING):
                raise BundleError(
                    f"{source}: {node.name}.{attribute.name}: expected a number, text or tensor in the graph, got "
                    f"{kinds.AttributeType.Name(attribute.type)} that may hold more"
                )
    if model.graph.sparse_initializer or model.training_info:
        raise BundleError(f"{source}: expected plain initializers, got sparse ones or parts for training")


def _check_weights(model: onnx.ModelProto, source: str, size: int) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        if where.get("location") != WEIGHTS:
            raise BundleError(
                f"{source}: {tensor.name}: expected its data in {WEIGHTS}, got {where.get('location')!r}; "
                "a bundle reads no other file"
            )
        try:
            begin, length = int(where.get("offset", "0")), int(where.get("length", "0"))
        except ValueError as error:
            raise BundleError(f"{source}: {tensor.name}: expected numbers for its place, got {where}") from error
        if not 0 <= begin <= begin + length <= size:
            raise BundleError(f"{source}: {tensor.name}: expected data within {size} bytes, got {begin} + {length}")


def _check_shapes(model: onnx.ModelProto, source: str, bundle: Bundle) -> None:
    contract, image = bundle.contract, bundle.contract.image
    features = 3 * image.temporal_patch_size * image.patch_size_px**2
    expected = {
        "pixel_values": [1, image.patches_per_side**2, features],
        "text_embeds": [1, 0, bundle.embedding_width],
        "query_index": [1],
        OUTPUT: [1, contract.chunk_size, 7],
    }
    got = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    if got != expected:
        raise BundleError(f"{source}: inputs and outputs: expected {expected} as in policy.yaml, got {got}")
