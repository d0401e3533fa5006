"""The last layer for the queries alone: behind its attention, nothing reads any other token.

attention [tokens] -> MLP [tokens] -> Gather -> head    becomes    attention [tokens] -> Gather -> MLP -> head
"""

import onnx_ir as ir

from vla_ros.export.linear_node import LINEAR

ROW_WISE = {
    *("Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Reciprocal", "Cast", "CastLike", "Identity"),
    *("Sigmoid", "Tanh", "Erf", "Gelu", "Relu", "ReduceMean", "LayerNormalization", LINEAR),
}
"""Nodes that compute each token's row from that row alone, as layers use them: means are over the last axis."""
AXIS = 1
"""Of the tokens."""


def keep_query_rows(model: ir.Model) -> None:
    """Gather the queries' rows of a traced graph in front of all that is computed row by row, not behind it.

    The graph's last Gather takes them, [1, queries, hidden_size], out of the last hidden states
    [1, tokens, hidden_size].
    """
    graph = model.graph
    gather = next(node for node in reversed(graph) if node.op_type == "Gather")
    last, index = gather.inputs
    assert last is not None
    assert gather.outputs[0].shape is not None
    assert gather.attributes.get_int("axis") == AXIS
    queries = gather.outputs[0].shape[AXIS]
    narrowed = _read_for_queries(graph, gather)
    gathered: dict[ir.Value, ir.Value] = {}
    for node in narrowed:
        for place, value in enumerate(node.inputs):
            if value is not None and value.producer() not in narrowed and _is_read_by_token(value):
                if value not in gathered:
                    gathered[value] = _gather(graph, value, index)
                node.replace_input_with(place, gathered[value])
    for value in (*gathered.values(), *(node.outputs[0] for node in narrowed)):
        if _has_tokens(value):
            value.shape = ir.Shape([size if axis != AXIS else queries for axis, size in enumerate(value.shape or ())])
    if last.producer() in narrowed:
        gather.outputs[0].replace_all_uses_with(last)
        graph.remove(gather, safe=True)
    graph.sort()  # where the queries stand was computed behind what now reads it


def _read_for_queries(graph: ir.Graph, gather: ir.Node) -> dict[ir.Node, None]:
    """The row-wise nodes whose outputs reach the Gather's data, and nothing else, through such nodes alone."""
    narrowed: dict[ir.Node, None] = {}
    for node in reversed(graph):
        uses = [use for output in node.outputs for use in output.uses()]
        is_read_for_queries = all(use.node in narrowed or use == (gather, 0) for use in uses)
        if uses and is_read_for_queries and node.op_type in ROW_WISE:
            narrowed[node] = None
    return narrowed


def _has_tokens(value: ir.Value) -> bool:
    """Whether its axis of tokens is the graph's one that is not fixed."""
    return value.shape is not None and len(value.shape) > AXIS and not isinstance(value.shape[AXIS], int)


def _is_read_by_token(value: ir.Value) -> bool:
    """Whether a value from outside has a row for each token; one without a shape must be a constant."""
    assert value.shape is not None or _is_constant(value)
    return _has_tokens(value)


def _is_constant(value: ir.Value) -> bool:
    """Whether it is computed from nothing but constants."""
    producer = value.producer()
    if producer is None:
        return value.is_initializer()
    return all(_is_constant(source) for source in producer.inputs if source is not None)


def _gather(graph: ir.Graph, value: ir.Value, index: ir.Value | None) -> ir.Value:
    node = ir.node("Gather", [value, index], {"axis": AXIS}, name=f"{value.name}/queries")
    output = node.outputs[0]
    output.name, output.shape, output.type = f"{value.name}/queries", value.shape, value.type
    graph.append(node)
    return output
