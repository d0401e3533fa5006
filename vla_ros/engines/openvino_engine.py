"""OpenVINO on the CPU: every precision, with matrix units where the CPU has them."""

import functools
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.bundle import GRAPH, WEIGHTS, Bundle, Precision
from vla_ros.engines.cpu import cpu_flags, saturates_int8
from vla_ros.engines.graph_file import read_graph
from vla_ros.engines.memory import check_memory
from vla_ros.engines.resident import drop_pages
from vla_ros.errors import EngineError

PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f32"}
"""By `compute`. fp16 is stored so and computed in fp32: asked for f16, OpenVINO computes in bf16 on CPUs without it."""
COPIES = {"fp32": 1.2, "bf16": 1.2, "fp16": 4.2}
"""Of the weights, by `compute`: packed ones, and of fp16 those in fp32 before; mapped ones are dropped after a pass."""


class OpenVINOEngine:
    """A compiled model with a fixed number of threads, and one request whose buffers stay."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Raises EngineError if OpenVINO is not installed, refuses the graph, or would compute something else."""
        core = openvino_core()
        if why := refusal(bundle.manifest.graph.precision):
            raise EngineError(f"{bundle.path / GRAPH}: precision: {why}")
        read_graph(bundle)
        check_memory(bundle, "openvino_cpu", COPIES[bundle.manifest.graph.compute])
        self._name = str(bundle.path / GRAPH)
        self._weights = bundle.path / WEIGHTS
        self._is_packed = False
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[bundle.manifest.graph.compute],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": True,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            compiled = core.compile_model(self._name, "CPU", config)
            self._request = compiled.create_infer_request()
            computes = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        except Exception as error:  # OpenVINO raises RuntimeError and its own, without a common narrower class
            reason = " ".join(str(error).split())
            raise EngineError(f"{self._name}: expected a graph that OpenVINO runs, got: {reason}") from error
        if computes != config["INFERENCE_PRECISION_HINT"]:
            raise EngineError(
                f"{self._name}: compute: expected a CPU that computes {config['INFERENCE_PRECISION_HINT']}, "
                f"got one that computes {computes} instead; export with --precision int8 or fp32"
            )

    def infer(
        self, pixel_values: NDArray[np.float32], text_embeds: NDArray[np.float32], query_index: int
    ) -> NDArray[np.float32]:
        """See `Engine.infer`."""
        feeds = {
            "pixel_values": pixel_values,
            "text_embeds": text_embeds,
            "query_index": np.array([query_index], np.int64),
        }
        try:
            outputs = self._request.infer(feeds, share_inputs=True)
        except Exception as error:  # see above
            raise EngineError(f"{self._name}: expected an answer, got: {' '.join(str(error).split())}") from error
        if not self._is_packed:
            self._is_packed = True
            drop_pages(self._weights)
        return np.array(outputs[0][0], dtype=np.float32)


@functools.cache
def openvino_core() -> Any:
    """The process's only `openvino.Core`, which stays: each one's CPU plugin replaces the thread's signal stack, and
    puts back what it found when it goes. Of two, the second would put back the first one's stack, unmapped by then, and
    the next signal would end the process. Raises EngineError without a working OpenVINO."""
    # OpenVINO's tools report usage through this package where it can be imported; a robot reports to nobody
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise EngineError("engine: expected OpenVINO, got none; pip install openvino") from error
    try:
        return openvino.Core()
    except RuntimeError as error:
        raise EngineError(f"engine: expected an OpenVINO that starts, got: {' '.join(str(error).split())}") from error


def refusal(precision: Precision) -> str | None:
    """Why OpenVINO would not compute a precision as it is asked to on this CPU; None if it would.

    Raises:
        EngineError: no working OpenVINO.
    """
    if precision == "bf16" and "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return (
            "expected a CPU that computes bf16 (AVX-512 BF16, AMX), got another; export with --precision int8 or fp32"
        )
    if precision == "int8" and saturates_int8(cpu_flags()):
        return "expected a CPU that sums int8 products in 32 bits (VNNI, AMX), got another; onnx_cpu runs compute: fp32"
    return None
