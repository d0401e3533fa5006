"""What every inference engine offers; the compliance suite in `test/engines` holds each one to this."""

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from vla_ros.bundle import Bundle, GraphInfo
from vla_ros.engines.cpu import cpu_flags
from vla_ros.engines.resident import trim
from vla_ros.errors import EngineError


class Engine(Protocol):
    """Runs a bundle's graph where it was asked to, or does not open."""

    def infer(
        self, pixel_values: NDArray[np.float32], text_embeds: NDArray[np.float32], query_index: int
    ) -> NDArray[np.float32]:
        """One forward pass.

        Args:
            pixel_values: float32 [1, patches, features].
            text_embeds: float32 [1, tokens, hidden_size], of what follows the image; tokens is one of the buckets.
            query_index: where in `text_embeds` the first ActionQuery stands.

        Returns:
            float32 [chunk_size, 7], model units: arm in [-1, 1], gripper logit.

        Raises:
            EngineError: the pass failed.
        """


ENGINES = {
    "onnx_cpu": ("vla_ros.engines.onnx_engine", "OnnxCpuEngine"),
    "onnx_cuda": ("vla_ros.engines.onnx_engine", "OnnxCudaEngine"),
    "onnx_tensorrt": ("vla_ros.engines.onnx_engine", "OnnxTensorRTEngine"),
    "openvino_cpu": ("vla_ros.engines.openvino_engine", "OpenVINOEngine"),
    "tensorrt": ("vla_ros.engines.tensorrt_engine", "TensorRTEngine"),
    "tensorrt_rtx": ("vla_ros.engines.tensorrt_rtx_engine", "TensorRTRTXEngine"),
}
"""Module and class, imported when asked for: each needs a package that the others do not."""

CPU = "cpu"
"""Stands for the engine that measured fastest on this kind of CPU; see `fastest_cpu_engine`."""


def open_engine(name: str, bundle: Bundle, threads: int) -> Engine:
    """Open an engine by name, and run every shape that it will see once.

    Args:
        name: one of ENGINES, or CPU.
        threads: CPU threads of one forward pass.

    Raises:
        EngineError: no such engine, or it cannot run this bundle here.
    """
    if threads < 1:
        raise EngineError(f"threads: expected >= 1, got {threads}")
    name = resolve(name, bundle.manifest.graph)
    module, cls = ENGINES[name]
    make = cast("Callable[[Bundle, int], Engine]", getattr(import_module(module), cls))
    engine = make(bundle, threads)
    warm_up(engine, bundle)
    trim()
    return engine


def resolve(name: str, graph: GraphInfo) -> str:
    """The engine that a name stands for.

    Raises:
        EngineError: no such engine.
    """
    if name == CPU:
        return fastest_cpu_engine(graph, cpu_flags())
    if name not in ENGINES:
        raise EngineError(f"engine: expected one of {', '.join((CPU, *ENGINES))}, got {name!r}")
    return name


def fastest_cpu_engine(graph: GraphInfo, flags: frozenset[str]) -> str:
    """What `vla-ros bench inference` found (docs/inference.md).

    16-bit and 8-bit floats run on OpenVINO alone. Its int8 kernels use the matrix units (AMX) of recent Xeons; without
    those ONNX Runtime's are the faster ones, and they keep no second copy of the weights.

    Args:
        flags: of the CPU, as Linux names them.
    """
    if graph.compute != "fp32" or graph.precision == "fp8":
        return "openvino_cpu"
    return "openvino_cpu" if graph.precision == "int8" and "amx_int8" in flags else "onnx_cpu"


def warm_up(engine: Engine, bundle: Bundle) -> None:
    """Run every bucket once: kernels are chosen, weights packed and buffers allocated before the first camera frame."""
    image, width = bundle.contract.image, bundle.embedding_width
    features = 3 * image.temporal_patch_size * image.patch_size_px**2
    pixels = np.zeros((1, image.patches_per_side**2, features), np.float32)
    for tokens in bundle.manifest.graph.buckets:
        engine.infer(pixels, np.zeros((1, tokens, width), np.float32), tokens - bundle.contract.action_queries)
