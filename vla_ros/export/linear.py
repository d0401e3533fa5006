"""The linear layers of a traced graph, found, named and put back as plain or quantised matrix products."""

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir
from torch import Tensor

from vla_ros.export.linear_node import DOMAIN, LINEAR

PREFIX = "policy."


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """One linear layer of the traced graph.

    Attributes:
        name: of its weight in the policy, without the `.weight`.
        node: in the graph.
        weight: gives it as float [inputs, outputs]; computed anew by each call, as all of them would not fit.
        shape: inputs and outputs.
    """

    name: str
    node: ir.Node
    weight: Callable[[], Tensor]
    shape: tuple[int, int]

    @property
    def input(self) -> ir.Value:
        """The value that it multiplies."""
        value = self.node.inputs[0]
        assert value is not None
        return value


def find_linear_layers(model: ir.Model) -> list[LinearLayer]:
    """All of them, in the order in which they run."""
    return [_describe(node) for node in model.graph if node.domain == DOMAIN and node.op_type == LINEAR]


def _describe(node: ir.Node) -> LinearLayer:
    value = node.inputs[1]
    assert value is not None
    root, steps = _trace_back(value)

    def weight() -> Tensor:
        tensor = torch_tensor(root)
        for step in steps:
            tensor = step(tensor)
        return tensor.T

    inputs, outputs = weight().shape
    name = str(root.name).removeprefix(PREFIX).removesuffix(".weight")
    return LinearLayer(name=name, node=node, weight=weight, shape=(inputs, outputs))


def _trace_back(value: ir.Value) -> tuple[ir.Value, list[Callable[[Tensor], Tensor]]]:
    """The parameter that a weight is a view of, and how it becomes that view."""
    steps: list[Callable[[Tensor], Tensor]] = []
    while not value.is_initializer():
        node = value.producer()
        assert node is not None, f"{value.name}: a weight that is no parameter"
        steps.insert(0, _view(node))
        source = node.inputs[0]
        assert source is not None
        value = source
    return value, steps


def _view(node: ir.Node) -> Callable[[Tensor], Tensor]:
    if node.op_type == "Reshape":
        shape = node.outputs[0].shape
        assert shape is not None
        sizes = [int(size) for size in shape.numpy()]
        return lambda tensor: tensor.reshape(sizes)
    if node.op_type == "Transpose":
        order = list(node.attributes.get_ints("perm"))
        return lambda tensor: tensor.permute(order)
    if node.op_type == "Identity":
        return lambda tensor: tensor
    raise AssertionError(f"{node.op_type}: a weight is viewed in a way that this does not know")


def torch_tensor(value: ir.Value) -> Tensor:
    """An initializer of the traced graph, which is a parameter or a buffer of the policy."""
    raw = getattr(value.const_value, "raw", None)
    assert isinstance(raw, Tensor), f"{value.name}: expected one of torch's tensors"
    return raw.detach()
