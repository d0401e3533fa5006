"""Linear layers of a traced graph as plain or quantised matrix products.

Quantised ones are explicit: QuantizeLinear and DequantizeLinear around what a matrix product reads. TensorRT builds
such graphs as they are (it is the only way since version 11), and OpenVINO and ONNX Runtime fuse them.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import onnx_ir as ir
import torch
from onnx_ir.tensor_adapters import TorchTensor, to_torch_dtype
from torch import Tensor

from vla_ros.export.linear import LinearLayer, torch_tensor
from vla_ros.export.quantize import QuantizedWeight

STORED = {ir.DataType.INT8: torch.int8, ir.DataType.FLOAT8E4M3FN: torch.float8_e4m3fn}
"""What inputs can be quantised to."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How one layer is quantised.

    Attributes:
        weight: of the float weight [inputs, outputs], smoothing applied, its few bits.
        dtype: of the stored weight.
        block_size: inputs that share a scale; None if all do.
        input_scale: of the input, which is quantised to `dtype` too; None leaves the input as it is.
    """

    weight: Callable[[Tensor], QuantizedWeight]
    dtype: ir.DataType
    block_size: int | None = None
    input_scale: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How the layers of a graph are lowered.

    Attributes:
        layers: by name; a layer that is not here stays as it is.
        smoothing: by name too, what the channels of its input are divided by, float32 [inputs]; layers that read the
            same value have the same.
    """

    layers: dict[str, Quantization]
    smoothing: dict[str, Tensor]


def lower(model: ir.Model, layers: list[LinearLayer], plan: Plan) -> None:
    """Replace every layer's node; weights are computed when the model is saved, one at a time."""
    lowering = _Lowering(model.graph, plan)
    for group in groups_by_input(layers):
        lowering.lower(group)


def groups_by_input(layers: list[LinearLayer]) -> list[list[LinearLayer]]:
    """The layers that read the same value, e.g. an attention's query, key and value."""
    groups: dict[ir.Value, list[LinearLayer]] = defaultdict(list)
    for layer in layers:
        groups[layer.input].append(layer)
    return list(groups.values())


class _Lowering:
    def __init__(self, graph: ir.Graph, plan: Plan) -> None:
        self._graph, self._plan = graph, plan

    def lower(self, group: list[LinearLayer]) -> None:
        """Layers that read the same value read it smoothed, and quantised, once."""
        value = group[0].input
        factors = self._plan.smoothing.get(group[0].name)
        if factors is not None:
            value = self._divide(value, group, factors)
        quantized: dict[tuple[ir.DataType, float], ir.Value] = {}
        for layer in group:
            quantization = self._plan.layers.get(layer.name)
            weight = partial(_smoothed_weight, layer, factors)
            if quantization is None:
                self._replace(layer, value, self._float_weight(layer, weight, value.dtype))
                continue
            source = value
            if quantization.input_scale is not None:
                key = (quantization.dtype, quantization.input_scale)
                if key not in quantized:
                    quantized[key] = self._quantize(value, layer, *key)
                source = quantized[key]
            self._replace(layer, source, self._few_bits(layer, weight, quantization, value.dtype))

    def _replace(self, layer: LinearLayer, source: ir.Value, operand: ir.Value) -> None:
        node, output = layer.node, layer.node.outputs[0]
        last = self._insert(node, "MatMul", [source, operand], f"{layer.name}/matmul", output)
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            last = self._insert(node, "Add", [last, node.inputs[2]], f"{layer.name}/bias", output)
        output.replace_all_uses_with(last, replace_graph_outputs=True)
        self._graph.remove(node, safe=True)

    def _divide(self, value: ir.Value, group: list[LinearLayer], factors: Tensor) -> ir.Value:
        """The value with each channel divided: inside of the norm in front where nothing else reads that."""
        producer = value.producer()
        if (
            producer is not None
            and len(value.uses()) == len(group)
            and self._divide_norm(producer, group[0].name, factors)
        ):
            return value
        inverse = self._constant(f"{group[0].name}/smoothing", 1 / factors, value.dtype)
        return self._insert(group[0].node, "Mul", [value, inverse], f"{group[0].name}/smooth", value)

    def _divide_norm(self, node: ir.Node, name: str, factors: Tensor) -> bool:
        """Divide a norm's weights (of an RMSNorm its last product's, of a LayerNormalization both), if it is one."""
        first = {"Mul": 0, "LayerNormalization": 1}.get(node.op_type)
        if first is None:
            return False
        places = [
            (place, value)
            for place, value in enumerate(node.inputs)
            if place >= first and value is not None and value.is_initializer() and _shape(value) == factors.shape
        ]
        for place, value in places:
            scaled = torch_tensor(value).float() / factors
            node.replace_input_with(place, self._constant(f"{name}/norm_{place}", scaled, value.dtype))
        return bool(places)

    def _quantize(self, value: ir.Value, layer: LinearLayer, dtype: ir.DataType, scale: float) -> ir.Value:
        name = f"{layer.name}/input"
        scale_value = self._constant(f"{name}_scale", torch.tensor(scale), value.dtype)
        zero = self._constant(f"{name}_zero", torch.zeros((), dtype=STORED[dtype]), dtype)
        few = self._insert(layer.node, "QuantizeLinear", [value, scale_value, zero], f"{name}/quantize", value)
        few.type = ir.TensorType(dtype)
        return self._insert(layer.node, "DequantizeLinear", [few, scale_value, zero], f"{name}/dequantize", value)

    def _few_bits(
        self, layer: LinearLayer, weight: Callable[[], Tensor], how: Quantization, dtype: ir.DataType | None
    ) -> ir.Value:
        """A layer's weight, stored in few bits and multiplied back in the graph."""
        inputs, outputs = layer.shape
        scale_shape = [outputs] if how.block_size is None else [inputs // how.block_size, outputs]
        name, once = f"{layer.name}.weight", _Once(lambda: how.weight(weight()))
        stored = self._lazy(f"{name}/quantized", lambda: once.take().values, how.dtype, layer.shape)
        scale = self._lazy(f"{name}/scale", lambda: once.take().scale, dtype, scale_shape)
        attributes = {"axis": 1} if how.block_size is None else {"axis": 0, "block_size": how.block_size}
        return self._insert(layer.node, "DequantizeLinear", [stored, scale], f"{name}/dequantize", scale, attributes)

    def _float_weight(self, layer: LinearLayer, weight: Callable[[], Tensor], dtype: ir.DataType | None) -> ir.Value:
        return self._lazy(f"{layer.name}.weight", weight, dtype, layer.shape)

    def _insert(
        self,
        before: ir.Node,
        op_type: str,
        inputs: list[ir.Value | None],
        name: str,
        like: ir.Value,
        attributes: dict[str, int] | None = None,
    ) -> ir.Value:
        node = ir.node(op_type, inputs, attributes, name=name)
        output = node.outputs[0]
        output.name, output.shape = f"{name}/output", like.shape
        output.type = like.type
        if op_type == "DequantizeLinear" and attributes is not None:
            output.shape = inputs[0].shape if inputs[0] is not None else None
        self._graph.insert_before(before, node)
        return output

    def _constant(self, name: str, tensor: Tensor, dtype: ir.DataType | None) -> ir.Value:
        return self._lazy(name, lambda: tensor, dtype, tensor.shape)

    def _lazy(
        self,
        name: str,
        compute: Callable[[], Tensor],
        dtype: ir.DataType | None,
        shape: Sequence[int],
    ) -> ir.Value:
        assert dtype is not None

        def tensor() -> ir.TensorProtocol:
            return _stored(compute(), dtype, name)

        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))
        value.const_value = ir.LazyTensor(tensor, dtype=dtype, shape=ir.Shape(shape), name=name)
        self._graph.register_initializer(value)
        return value


class _Once:
    """Values and scales of a weight come from one computation, which is forgotten when both were taken."""

    def __init__(self, compute: Callable[[], QuantizedWeight]) -> None:
        self._compute = compute
        self._kept: QuantizedWeight | None = None

    def take(self) -> QuantizedWeight:
        if self._kept is None:
            self._kept = self._compute()
            return self._kept
        kept, self._kept = self._kept, None
        return kept


def _smoothed_weight(layer: LinearLayer, factors: Tensor | None) -> Tensor:
    weight = layer.weight()
    return weight if factors is None else weight * factors[:, None].to(weight.dtype)


def _stored(tensor: Tensor, dtype: ir.DataType, name: str) -> ir.TensorProtocol:
    if dtype == ir.DataType.INT4:
        import ml_dtypes

        return ir.Tensor(tensor.numpy().astype(ml_dtypes.int4), name=name)
    return TorchTensor(tensor.to(to_torch_dtype(dtype)).contiguous(), name=name)


def _shape(value: ir.Value) -> tuple[int, ...] | None:
    return None if value.shape is None else tuple(value.shape.numpy())
