"""Every family's graph, in every precision, through TensorRT-RTX's compiler, on a machine without a GPU.

`make test-tensorrt` installs the compiler. What is built is not run: that takes a GPU.
"""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import onnx
from onnx import TensorProto, helper

from test.policies.case import Case
from test.policies.cases import CASES
from test.tensorrt.graphs import CONFIGS, export
from vla_ros.engines.rtx_compiler import build_for_rtx
from vla_ros.engines.rtx_library import WHEEL
from vla_ros.errors import EngineError

pytestmark = [
    pytest.mark.tensorrt,
    pytest.mark.skipif(
        importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx") is None,
        reason=f"needs {WHEEL}: `make test-tensorrt` installs it",
    ),
]

FAMILIES = [case for case in CASES if "-" not in case.name]
"""The others are the same models under another recipe or on another image."""


KNOWN_WARNINGS = (
    "Make sure input query_index has Int64 binding",  # it has
    "node_clamp_min",  # Kosmos-2 normalises with an epsilon of 1e-12, which is 0 in 16 bits
)


@pytest.mark.parametrize("precision", CONFIGS)
@pytest.mark.parametrize("case", FAMILIES, ids=str)
def test_every_family_builds_in_every_precision(case: Case, precision: str, tmp_path: Path) -> None:
    path, buckets = export(case, CONFIGS[precision], tmp_path)
    built = build_for_rtx(path, buckets)
    assert built.version.startswith("1.7")
    assert built.layers > 100
    assert built.engine_bytes > 10_000
    assert [line for line in built.warnings if not any(known in line for known in KNOWN_WARNINGS)] == []


def make_graph(path: Path, nodes: list[onnx.NodeProto], initializers: dict[str, np.ndarray]) -> Path:
    """x float32 [1, tokens, 64] -> y float32 [1, tokens, 32]."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "tokens", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "tokens", 32])],
        [onnx.numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def test_an_unsigned_zero_point_is_refused_by_the_name_of_its_node(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["few"], name="to_uint8"),
        helper.make_node("DequantizeLinear", ["few", "scale", "zero"], ["back"]),
        helper.make_node("MatMul", ["back", "weight"], ["y"]),
    ]
    initializers = {
        "scale": np.array(0.1, np.float32),
        "zero": np.array(128, np.uint8),
        "weight": np.ones((64, 32), np.float32),
    }
    path = make_graph(tmp_path / "policy.onnx", nodes, initializers)
    with pytest.raises(
        EngineError, match=r"policy\.onnx: expected a graph .*, got: QuantizeLinear to_uint8 .*zero point"
    ):
        build_for_rtx(path, (8,))


def test_the_int8_weights_of_a_dynamically_quantised_graph_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["few", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["few", "weight", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["y"]),
    ]
    path = make_graph(tmp_path / "policy.onnx", nodes, {"weight": np.ones((64, 32), np.int8)})
    with pytest.raises(EngineError, match="DynamicQuantizeLinear"):
        build_for_rtx(path, (8,))


def test_attention_in_float32_has_no_kernel(tmp_path: Path) -> None:
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 16, 64]) for name in "qkvy"]
    graph = helper.make_graph(
        [helper.make_node("Attention", ["q", "k", "v"], ["y"])], "graph", tensors[:3], tensors[3:]
    )
    path = tmp_path / "policy.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11), path)
    with pytest.raises(
        EngineError, match=r"policy\.onnx: expected an engine, got: .*Attention operation was not supported"
    ):
        build_for_rtx(path, (8,))


def test_weights_beside_the_graph_are_found_and_their_absence_is_told(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["y"])]
    path = make_graph(tmp_path / "policy.onnx", nodes, {"weight": np.ones((64, 32), np.float32)})
    model = onnx.load_model(path)
    onnx.save_model(model, path, save_as_external_data=True, location="policy.onnx.data", size_threshold=0)
    assert build_for_rtx(path, (8, 16)).layers >= 2
    (tmp_path / "policy.onnx.data").unlink()
    with pytest.raises(EngineError, match=re.escape(str(path))):
        build_for_rtx(path, (8, 16))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError, match=r"policy\.onnx: expected a graph for TensorRT-RTX, got"):
        build_for_rtx(tmp_path / "policy.onnx", (8,))


def test_a_compiler_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"expected an engine within 0\.001 s, got none"):
        build_for_rtx(tmp_path / "policy.onnx", (8,), timeout_s=0.001)
