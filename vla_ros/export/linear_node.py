"""The node that a linear layer is while a graph is worked on: one that keeps the name of its weight."""

from typing import Any

import onnx
import onnxscript

DOMAIN = "vla_ros.export"
LINEAR = "Linear"


def _declare_linear() -> Any:
    """onnxscript emits only what has a schema; the node never leaves this package."""
    schema = onnx.defs.OpSchema
    tensor = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"]
    optional = schema.FormalParameterOption.Optional
    inputs = [
        schema.FormalParameter("hidden", "T"),
        schema.FormalParameter("weight", "T"),
        schema.FormalParameter("bias", "T", param_option=optional),
    ]
    outputs = [schema.FormalParameter("output", "T")]
    onnx.defs.register_schema(
        schema(LINEAR, DOMAIN, 1, inputs=inputs, outputs=outputs, type_constraints=[("T", tensor, "")])
    )
    return onnxscript.values.Opset(DOMAIN, 1)


_private = _declare_linear()


def keep_linear(hidden: Any, weight: Any, bias: Any = None) -> Any:
    """What becomes of torch's linear: MatMul or Gemm, of a weight that is transposed first, would hide its name."""
    return _private.Linear(hidden, weight) if bias is None else _private.Linear(hidden, weight, bias)
