"""What the machine does at best, and so the least time that a forward pass could take on it.

A pass reads its weights once and multiplies: it takes at least the longer of both (Williams et al., "Roofline", 2009).
The limits are measured by the best library at hand for each, on as many threads as the policy has; a data sheet knows
neither the power limit nor the neighbour. Elementwise work, and activations that leave the cache, are left out, so that
nothing reaches all of its roofline.
"""

import io
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vla_ros.bundle import WEIGHTS, Bundle, Precision
from vla_ros.engines.graph_file import read_graph
from vla_ros.engines.openvino_engine import openvino_core, refusal

SIDE = 2048
"""Of the square matrices: 17 billion operations, far more than it takes to start them."""
BANDWIDTH_BYTES = 512 * 2**20
"""Far more than any cache holds."""
REPEATS = 3
CHAIN = 4
"""Products in OpenVINO's graph, so that rounding the first input costs little beside them."""

OPERATIONS: dict[Precision, str] = {
    "fp32": "fp32_flops",
    "bf16": "bf16_flops",
    "fp16": "bf16_flops",
    "fp8": "bf16_flops",
    "int8": "int8_ops",
    "int4": "int8_ops",
}
"""Which limit stands over a precision: the fastest kind of product that its weights could be multiplied by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the machine did at best.

    Attributes:
        bandwidth: reading memory [bytes/s].
        fp32_flops, bf16_flops, int8_ops: products of large matrices [operations/s]; a multiply-add is two.
    """

    bandwidth: float
    fp32_flops: float
    bf16_flops: float
    int8_ops: float

    @classmethod
    def best(cls, limits: list["Limits"]) -> "Limits":
        """The highest of each."""
        return cls(**{field.name: max(getattr(each, field.name) for each in limits) for field in fields(cls)})

    def rate(self, precision: Precision) -> float:
        """Of products in this precision [operations/s]."""
        return float(getattr(self, OPERATIONS[precision]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one forward pass cannot do without.

    Attributes:
        flops: of its matrix products, a multiply-add is two.
        weight_bytes: that it reads.
    """

    flops: float
    weight_bytes: float

    def least_s(self, limits: Limits, precision: Precision) -> float:
        """The roofline time [s]. Attention and kept layers count as if they were as fast as the rest."""
        return max(self.flops / limits.rate(precision), self.weight_bytes / limits.bandwidth)

    def is_memory_bound(self, limits: Limits, precision: Precision) -> bool:
        """Whether reading takes longer than multiplying."""
        return self.weight_bytes / limits.bandwidth > self.flops / limits.rate(precision)


def graph_work(bundle: Bundle, tokens: int) -> Work:
    """Of a bundle's graph for `tokens` of text, counted from its matrix products' shapes.

    What a robot does not compute at every frame is not in the graph, and so not in here: the constant part of the
    prompt, the word embeddings' look-up, a language head.

    Raises:
        BundleError: it is no graph that an engine would run.
    """
    graph = read_graph(bundle).graph
    shapes = _shapes(graph, tokens)
    flops = 0.0
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm"):
            inputs = shapes[node.input[0]]
            depth = inputs[-2] if _is_transposed(node) else inputs[-1]
            flops += 2.0 * depth * float(np.prod(shapes[node.output[0]]))
    return Work(flops=flops, weight_bytes=float(bundle.manifest.files[WEIGHTS].size))


def _shapes(graph: Any, tokens: int) -> dict[str, list[int]]:
    """By value; what depends on the text's length is written as `tokens + 49` there."""
    values = (*graph.input, *graph.value_info, *graph.output)
    shapes = {
        value.name: [_size(dimension, tokens) for dimension in value.type.tensor_type.shape.dim] for value in values
    }
    return shapes | {tensor.name: list(tensor.dims) for tensor in graph.initializer}


def _size(dimension: Any, tokens: int) -> int:
    text = dimension.dim_param
    if not text:
        return int(dimension.dim_value)
    match = re.fullmatch(r"\w+(?: \+ (\d+))?", text)
    return tokens + int(match[1] or 0) if match else 0


def _is_transposed(node: Any) -> bool:
    return any(attribute.name == "transA" and attribute.i for attribute in node.attribute)


class Meter:
    """Measures the limits again and again, with `threads` threads of this process."""

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        generator = torch.Generator().manual_seed(0)
        self._torch = torch
        self._row = torch.ones(4096)
        self._table = torch.ones(BANDWIDTH_BYTES // 4 // len(self._row), len(self._row))
        self._matrix = torch.randn(SIDE, SIDE, generator=generator)
        self._half = self._matrix.bfloat16()
        integers = np.random.default_rng(0).integers(-127, 128, (SIDE, SIDE), dtype=np.int8)
        self._integer_products = {
            "onnxruntime": _onnxruntime_product(integers, threads),
        }
        if refusal("int8") is None:
            self._integer_products["openvino"] = _openvino_product(integers, threads)

    def measure(self) -> Limits:
        """Each limit, the best of REPEATS attempts."""
        torch, operations = self._torch, 2.0 * SIDE**3
        fp32_s = _best_s(lambda: torch.matmul(self._matrix, self._matrix))
        # where bf16 is not computed, it is emulated in fp32; torch's own emulation would take minutes
        bf16_s = fp32_s if refusal("bf16") else _best_s(lambda: torch.matmul(self._half, self._half))
        read_s = min(_best_s(lambda: torch.mv(self._table, self._row)), _best_s(self._table.sum))
        integer_s = [_best_s(product) / count for product, count in self._integer_products.values()]
        return Limits(
            bandwidth=BANDWIDTH_BYTES / read_s,
            fp32_flops=operations / fp32_s,
            bf16_flops=operations / bf16_s,
            int8_ops=operations / min(integer_s),
        )


def _best_s(action: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


Product = tuple[Callable[[], Any], int]
"""Runs so many products of two square matrices."""


def _onnxruntime_product(weight: np.ndarray[Any, Any], threads: int) -> Product:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    from vla_ros.engines.onnx_engine import EXACT_INT8

    shape = list(weight.shape)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["input", "weight"], ["output"])],
        "product",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("output", TensorProto.INT32, shape)],
        [numpy_helper.from_array(weight, "weight")],
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry(*EXACT_INT8)
    session = ort.InferenceSession(_serialize(graph), options, providers=["CPUExecutionProvider"])
    feeds = {"input": weight.view(np.uint8)}
    return lambda: session.run(None, feeds), 1


def _openvino_product(weight: np.ndarray[Any, Any], threads: int) -> Product:
    """Products in a chain, each rounded to 8 bits for the next: no graph of OpenVINO's takes integers from outside."""
    shape = list(weight.shape)
    constants = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.array(0.01, np.float32), "scale"),
        numpy_helper.from_array(np.array(128, np.uint8), "middle"),
        numpy_helper.from_array(np.full(shape[1], 1e-4, np.float32), "weight_scale"),
        numpy_helper.from_array(np.zeros(shape[1], np.int8), "weight_middle"),
    ]
    scales = ["weight", "weight_scale", "weight_middle"]
    nodes = [helper.make_node("DequantizeLinear", scales, ["floats"], axis=1)]
    for number in range(CHAIN):
        here, target = f"x{number}", f"x{number + 1}"
        nodes += [
            helper.make_node("QuantizeLinear", [here, "scale", "middle"], [f"q{number}"]),
            helper.make_node("DequantizeLinear", [f"q{number}", "scale", "middle"], [f"d{number}"]),
            helper.make_node("MatMul", [f"d{number}", "floats"], [target]),
        ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"x{CHAIN}", TensorProto.FLOAT, shape)],
        constants,
    )
    config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    core = openvino_core()
    request = core.compile_model(core.read_model(io.BytesIO(_serialize(graph))), "CPU", config).create_infer_request()
    feeds = {"x0": np.linspace(-1, 1, weight.size, dtype=np.float32).reshape(shape)}
    return lambda: request.infer(feeds, share_inputs=True), CHAIN


def _serialize(graph: Any) -> bytes:
    data: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=onnx.IR_VERSION - 3
    ).SerializeToString()
    return data
