"""ONNX Runtime: on the CPU, or through its CUDA and TensorRT execution providers."""

import hashlib
import os
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from vla_ros.bundle import GRAPH, WEIGHTS, Bundle
from vla_ros.engines.graph_file import OUTPUT, read_graph
from vla_ros.engines.memory import check_memory
from vla_ros.engines.tensorrt_cache import default_folder
from vla_ros.errors import EngineError

# ONNX Runtime's wheels report usage to their maker unless told not to before the import; a robot reports to nobody
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

EXACT_INT8 = ("session.x64quantprecision", "1")
"""x86 before VNNI would sum int8 products in 16 bits, and saturate (`cpu.saturates_int8`); other CPUs ignore this."""

COPIES = 1.15
"""Of the weights: they are packed one by one, and what they were read from is dropped."""


def pool_affinities(threads: int) -> str:
    """A core for each thread beside the caller's, in ONNX Runtime's notation, so that their caches stay theirs.

    Empty where there is none to place, or this process may not use so many cores.
    """
    cores = sorted(os.sched_getaffinity(0))
    return ";".join(str(core + 1) for core in cores[1:threads]) if 1 < threads <= len(cores) else ""


class _OnnxEngine:
    """A session with a fixed number of threads, on one execution provider and no other.

    Attributes:
        provider: of ONNX Runtime.
    """

    provider: str

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Raises EngineError if ONNX Runtime cannot run the graph on the provider."""
        self._name = str(bundle.path / GRAPH)
        available = ort.get_available_providers()
        if self.provider not in available:
            raise EngineError(
                f"{self._name}: engine: expected an ONNX Runtime with {self.provider}, got one with "
                f"{', '.join(available)}; pip install onnxruntime-gpu"
            )
        model = read_graph(bundle)
        check_memory(bundle, self.provider, COPIES)
        self.prepare(model)
        options = self.options(threads)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(bundle.path))
        try:
            self._session = ort.InferenceSession(
                model.SerializeToString(),
                options,
                providers=[(self.provider, self.provider_options(bundle))],
                disabled_optimizers=self.disabled_optimizers(bundle),
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise EngineError(f"{self._name}: expected a graph that ONNX Runtime runs, got: {error}") from error

    def options(self, threads: int) -> Any:
        """Of the session."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # a spinning pool would take the cores from the simulator or the camera driver beside it
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry(*EXACT_INT8)
        if affinities := pool_affinities(threads):
            options.add_session_config_entry("session.intra_op_thread_affinities", affinities)
        return options

    def provider_options(self, bundle: Bundle) -> dict[str, str]:
        """Of the execution provider."""
        return {}

    def disabled_optimizers(self, bundle: Bundle) -> list[str]:
        """Rewritings of the graph that ONNX Runtime is not to do."""
        return []

    def prepare(self, model: onnx.ModelProto) -> None:
        """Write the graph in the way that the provider likes best; what it computes stays the same."""

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
            (output,) = self._session.run([OUTPUT], feeds)
        except Exception as error:  # see above
            raise EngineError(f"{self._name}: expected an answer, got: {error}") from error
        return np.asarray(output[0], dtype=np.float32)


class OnnxCpuEngine(_OnnxEngine):
    """fp32, int8, int4 and fp8 bundles on the CPU; fp8 is computed in fp32 there."""

    provider = "CPUExecutionProvider"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Raises EngineError for 16-bit bundles, which ONNX Runtime's CPU kernels do not know."""
        compute = bundle.manifest.graph.compute
        if compute != "fp32":
            raise EngineError(
                f"{bundle.path / GRAPH}: compute: expected fp32 for onnx_cpu, got {compute}; openvino_cpu runs it"
            )
        super().__init__(bundle, threads)

    def disabled_optimizers(self, bundle: Bundle) -> list[str]:
        """Two that cost speed or break graphs with explicit quantisation (ONNX Runtime 1.31)."""
        if bundle.manifest.graph.precision == "fp8":
            return ["QDQSelectorActionTransformer"]  # fuses 8-bit floats into a kernel for integers, which refuses them
        # makes Gemm of a product and its bias, for which there is no integer kernel that leaves floats
        return ["MatMulAddFusion"]

    def prepare(self, model: onnx.ModelProto) -> None:
        """Signed integers of inputs become unsigned ones around 128: the same numbers, five times as fast on x86."""
        rounding = [node for node in model.graph.node if node.op_type == "QuantizeLinear" and len(node.input) > 2]
        zeros = {node.input[2] for node in rounding}
        is_signed = {
            tensor.name: tensor
            for tensor in model.graph.initializer
            if tensor.name in zeros and tensor.data_type == onnx.TensorProto.INT8
        }
        for name, tensor in is_signed.items():
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(128, np.uint8), name))
        quantized = {node.output[0] for node in rounding if node.input[2] in is_signed}
        for value in model.graph.value_info:
            if value.name in quantized:
                value.type.tensor_type.elem_type = onnx.TensorProto.UINT8


class OnnxCudaEngine(_OnnxEngine):
    """On an NVIDIA GPU, with no node left to the CPU. Not run by this project's tests: no GPU was at hand.

    Every prompt is filled up to the longest bucket: with all shapes fixed, no position or mask is computed on the CPU.
    """

    provider = "CUDAExecutionProvider"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """See `_OnnxEngine`."""
        self._tokens = bundle.manifest.graph.buckets[-1]
        super().__init__(bundle, threads)

    def options(self, threads: int) -> Any:
        """No silent way back to the CPU."""
        options = super().options(threads)
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options.add_free_dimension_override_by_name("tokens", self._tokens)
        return options

    def infer(
        self, pixel_values: NDArray[np.float32], text_embeds: NDArray[np.float32], query_index: int
    ) -> NDArray[np.float32]:
        """See `Engine.infer`; what stands behind the queries changes nothing."""
        filled = np.zeros((1, self._tokens, text_embeds.shape[2]), np.float32)
        filled[:, : text_embeds.shape[1]] = text_embeds
        return super().infer(pixel_values, filled, query_index)


class OnnxTensorRTEngine(OnnxCudaEngine):
    """Through ONNX Runtime's TensorRT provider, which builds its own engines. Not run by this project's tests."""

    provider = "TensorrtExecutionProvider"

    def provider_options(self, bundle: Bundle) -> dict[str, str]:
        """Engines are kept by all that they depend on; the provider itself adds the GPU and TensorRT's version."""
        files = bundle.manifest.files
        parts = (files[GRAPH].sha256, files[WEIGHTS].sha256, str(self._tokens), ort.__version__)
        key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]
        return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(default_folder() / "onnxruntime" / key)}
