"""TensorRT, natively: NVIDIA GPUs and Jetson, without torch and without ONNX Runtime.

When it opens, the engine of this GPU comes from the cache or is built, all buffers are allocated, and the whole pass of
each bucket (copy in, kernels, copy out) is captured as one CUDA graph: a call fills three arrays, launches once, waits.

Written against NVIDIA's documentation and the Python bindings' source, 10.x and 11.x; checked with stand-ins for
`tensorrt` and `cuda`, not on a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.bundle import GRAPH, WEIGHTS, Bundle
from vla_ros.engines.cuda import Buffer, Cuda
from vla_ros.engines.graph_file import INPUTS, OUTPUT, read_graph
from vla_ros.engines.tensorrt_builder import FLAGS, TensorRTBuilder, TensorRTLog, import_tensorrt
from vla_ros.engines.tensorrt_cache import EngineCache, EngineKey
from vla_ros.errors import EngineError

TENSORS: dict[str, type[np.generic]] = {
    "pixel_values": np.float32,
    "text_embeds": np.float32,
    "query_index": np.int64,
    "actions": np.float32,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """All that one bucket needs.

    Attributes:
        context: TensorRT's, with this bucket's profile; the graph uses its memory.
        buffers: by tensor.
        graph: copy in, kernels, copy out.
    """

    context: Any
    buffers: dict[str, Buffer]
    graph: Any


class TensorRTEngine:
    """A deserialised engine with one captured pass a bucket."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Load or build the engine, and warm it up.

        Args:
            bundle: verified.
            threads: of the CPU, while an engine is built; a forward pass needs none.

        Raises:
            EngineError: TensorRT, cuda-bindings or a GPU is missing; the graph is refused; the GPU's memory is full.
        """
        read_graph(bundle)  # checked before TensorRT parses it
        self._trt: Any = import_tensorrt()
        self._cuda = Cuda()
        self._log = TensorRTLog(self._trt)
        self._name = str(bundle.path / GRAPH)
        self._runtime = self._trt.Runtime(self._log.logger)
        self._engine = self._runtime.deserialize_cuda_engine(self._serialized(bundle, threads))
        if self._engine is None:
            raise self._log.refusal(self._name, f"an engine that TensorRT {self._trt.__version__} loads")
        self._check_tensors()
        buckets = bundle.manifest.graph.buckets
        self._passes = {bucket: self._prepare(profile, bucket) for profile, bucket in enumerate(buckets)}

    def infer(
        self, pixel_values: NDArray[np.float32], text_embeds: NDArray[np.float32], query_index: int
    ) -> NDArray[np.float32]:
        """See `Engine.infer`."""
        prepared = self._passes.get(text_embeds.shape[1])
        if prepared is None:
            raise EngineError(f"{self._name}: tokens: expected one of {list(self._passes)}, got {text_embeds.shape[1]}")
        self._fill(prepared.buffers["pixel_values"], pixel_values, "pixel_values")
        self._fill(prepared.buffers["text_embeds"], text_embeds, "text_embeds")
        prepared.buffers["query_index"].host[0] = query_index
        self._cuda.launch(prepared.graph)
        self._cuda.wait()
        return np.array(prepared.buffers[OUTPUT].host[0], np.float32)  # a copy: the next call overwrites it

    def _serialized(self, bundle: Bundle, threads: int) -> bytes:
        gpu = self._cuda.gpu()
        files, buckets = bundle.manifest.files, bundle.manifest.graph.buckets
        key = EngineKey(
            graph_sha256=files[GRAPH].sha256,
            data_sha256=files[WEIGHTS].sha256,
            tensorrt_version=self._trt.__version__,
            gpu=gpu.name,
            compute_capability=gpu.compute_capability,
            flags=FLAGS,
            buckets=buckets,
        )
        builder = TensorRTBuilder(self._trt, self._log, bundle.path / GRAPH, buckets, threads)
        return EngineCache().load_or_build(key, builder)

    def _check_tensors(self) -> None:
        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        if sorted(names) != sorted(TENSORS):
            raise EngineError(f"{self._name}: tensors: expected {sorted(TENSORS)}, got {sorted(names)}")
        for name, dtype in TENSORS.items():
            got = self._trt.nptype(engine.get_tensor_dtype(name))
            if np.dtype(got) != np.dtype(dtype):
                raise EngineError(f"{self._name}: {name}: expected {np.dtype(dtype)}, got {np.dtype(got)}")
            # such a tensor is read by the CPU before the kernels start, which no captured graph can do
            if engine.is_shape_inference_io(name):
                raise EngineError(f"{self._name}: {name}: expected a tensor of values, got one that decides on shapes")

    def _prepare(self, profile: int, bucket: int) -> _Pass:
        context = self._engine.create_execution_context()
        if context is None:
            raise self._log.refusal(f"{self._name}: tokens {bucket}", "room on the GPU for a context")
        if not context.set_optimization_profile_async(profile, self._cuda.stream):
            raise self._log.refusal(f"{self._name}: tokens {bucket}", f"optimisation profile {profile}")
        for name in INPUTS:
            _, shape, _ = self._engine.get_tensor_profile_shape(name, profile)
            if not context.set_input_shape(name, tuple(shape)):
                raise self._log.refusal(f"{self._name}: {name}", f"shape {list(shape)}")
        buffers = {}
        for name, dtype in TENSORS.items():
            buffers[name] = self._cuda.buffer(tuple(context.get_tensor_shape(name)), dtype)
            buffers[name].host[...] = 0
            context.set_tensor_address(name, buffers[name].device)
        enqueue = self._enqueuing(context, buffers)
        enqueue()  # TensorRT finishes its set-up in the first pass, which must not be part of the graph
        self._cuda.wait()
        graph = self._cuda.capture(enqueue)
        self._cuda.launch(graph)
        self._cuda.wait()
        return _Pass(context=context, buffers=buffers, graph=graph)

    def _enqueuing(self, context: Any, buffers: dict[str, Buffer]) -> Callable[[], None]:
        def enqueue() -> None:
            for name in INPUTS:
                self._cuda.upload(buffers[name])
            if not context.execute_async_v3(self._cuda.stream):
                raise self._log.refusal(self._name, "a forward pass")
            self._cuda.download(buffers[OUTPUT])

        return enqueue

    def _fill(self, buffer: Buffer, values: NDArray[Any], name: str) -> None:
        if values.shape != buffer.host.shape:  # NumPy would broadcast
            raise EngineError(f"{self._name}: {name}: expected {list(buffer.host.shape)}, got {list(values.shape)}")
        np.copyto(buffer.host, values)
