"""TensorRT-RTX on GeForce and RTX cards, as a plug-in of ONNX Runtime: `pip install` is all it needs besides a driver.

One session with one optimisation profile a bucket; the plug-in captures a CUDA graph a bucket. Every node runs there,
or the session does not open. It compiles at each opening (half a minute for 2 billion parameters): what ONNX Runtime
compiled it can keep only inside a protobuf file, which ends at 2 GiB.

Written against the wheel's option header and ONNX Runtime 1.31's Python API; without a GPU only that it refuses to open
was seen. Whether a graph compiles can be checked without one: see `rtx_compiler`.
"""

import functools
import importlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.bundle import GRAPH, Bundle
from vla_ros.engines.graph_file import OUTPUT, read_graph
from vla_ros.engines.rtx_library import WHEEL
from vla_ros.errors import EngineError

# ONNX Runtime's wheels report usage to their maker unless told not to before the import; a robot reports to nobody
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

LOG = logging.getLogger(__name__)

INPUTS: dict[str, type[np.generic]] = {
    "pixel_values": np.float32,
    "text_embeds": np.float32,
    "query_index": np.int64,
}
Shapes = dict[str, tuple[int | None, ...]]
"""Of inputs, by name; None is the dimension `tokens`."""

OLDEST_ORT = (1, 31)  # whose API this was written with; the plug-in itself asks for 1.24
PLUGIN = "NvTensorRTRTXExecutionProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """All that one bucket needs.

    Attributes:
        inputs: on the GPU, by name; a captured graph reads these addresses.
        output: on the GPU.
        answer: where the output is copied to, on the host.
        binding: of inputs and output.
        options: this bucket's profile and graph.
    """

    inputs: dict[str, Any]
    output: Any
    answer: Any
    binding: Any
    options: Any


class TensorRTRTXEngine:
    """A session on the first RTX GPU."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Compile the graph for this GPU, and warm every bucket up.

        Args:
            bundle: verified.
            threads: of the CPU, for what ONNX Runtime itself does.

        Raises:
            EngineError: the plug-in, a driver or an RTX GPU is missing, or a node would not run on it.
        """
        graph = bundle.path / GRAPH
        self._name = str(graph)
        self._device = find_device()
        shapes = _input_shapes(read_graph(bundle))
        buckets = bundle.manifest.graph.buckets
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options.add_provider_for_devices([self._device], provider_options(shapes, buckets))
        LOG.warning("%s: compiling for %s", graph, self._device.ep_vendor)
        try:
            self._session = ort.InferenceSession(self._name, options)
            self._passes = {
                bucket: self._prepare(profile, _fixed(shapes, bucket)) for profile, bucket in enumerate(buckets)
            }
        except EngineError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise EngineError(f"{graph}: expected a graph that runs on {PLUGIN} alone, got: {error}") from error

    def infer(
        self, pixel_values: NDArray[np.float32], text_embeds: NDArray[np.float32], query_index: int
    ) -> NDArray[np.float32]:
        """See `Engine.infer`."""
        prepared = self._passes.get(text_embeds.shape[1])
        if prepared is None:
            raise EngineError(f"{self._name}: tokens: expected one of {list(self._passes)}, got {text_embeds.shape[1]}")
        values = (pixel_values, text_embeds, np.array([query_index], np.int64))
        try:
            return self._run(prepared, dict(zip(INPUTS, values, strict=True)))
        except EngineError:
            raise
        except Exception as error:  # see above
            raise EngineError(f"{self._name}: expected an answer, got: {error}") from error

    def _prepare(self, profile: int, shapes: dict[str, tuple[int, ...]]) -> _Pass:
        memory = self._device.memory_info(ort.OrtDeviceMemoryType.DEFAULT)
        allocate = functools.partial(ort.OrtValue.ortvalue_from_shape_and_type, memory_info=memory)
        (output,) = self._session.get_outputs()
        binding = self._session.io_binding()
        inputs = {name: allocate(shapes[name], dtype) for name, dtype in INPUTS.items()}
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        on_gpu = allocate(output.shape, np.float32)
        binding.bind_ortvalue_output(OUTPUT, on_gpu)
        options = ort.RunOptions()
        options.add_run_config_entry("nv_profile_index", str(profile))
        options.add_run_config_entry("cuda_graph_annotation_id", str(profile + 1))  # 0 is shared by all without one
        answer = ort.OrtValue.ortvalue_from_shape_and_type(output.shape, np.float32)
        prepared = _Pass(inputs=inputs, output=on_gpu, answer=answer, binding=binding, options=options)
        for _ in range(2):  # the first pass compiles kernels, the second is captured
            self._run(prepared, {name: np.zeros(shapes[name], dtype) for name, dtype in INPUTS.items()})
        return prepared

    def _run(self, prepared: _Pass, values: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        for name, value in values.items():
            expected = list(prepared.inputs[name].shape())
            if list(value.shape) != expected:
                raise EngineError(f"{self._name}: {name}: expected {expected}, got {list(value.shape)}")
        for name, value in values.items():
            prepared.inputs[name].update_inplace(np.ascontiguousarray(value, INPUTS[name]))
        self._session.run_with_iobinding(prepared.binding, prepared.options)
        prepared.answer.update_inplace(prepared.output)
        return np.array(prepared.answer.numpy()[0], np.float32)


def find_device() -> Any:
    """The first RTX GPU that the plug-in sees.

    Raises:
        EngineError: no plug-in, no driver, no such GPU.
    """
    _register()
    devices = ort.get_ep_devices()
    found = [device for device in devices if device.ep_name == PLUGIN]
    if not found:
        have = ", ".join(sorted({device.ep_name for device in devices}))
        raise EngineError(f"TensorRT-RTX: expected an NVIDIA RTX GPU (Ampere or newer), got none; have {have}")
    return found[0]


def provider_options(shapes: Shapes, buckets: Sequence[int]) -> dict[str, str]:
    """For the plug-in: one profile a bucket, each of exactly one shape; CUDA graphs; memory that stays.

    Args:
        shapes: of every input.
        buckets: values of `tokens`.
    """
    # an input named again belongs to the next profile
    profiles = ",".join(
        f"{name}:{'x'.join(str(size) for size in shape)}"
        for bucket in buckets
        for name, shape in _fixed(shapes, bucket).items()
    )
    return {
        "enable_cuda_graph": "1",
        "nv_multi_profile_enable": "1",
        "nv_profile_min_shapes": profiles,
        "nv_profile_opt_shapes": profiles,
        "nv_profile_max_shapes": profiles,
        "nv_persistent_context_memory": "1",
    }


def _input_shapes(model: Any) -> Shapes:
    return {
        value.name: tuple(dimension.dim_value or None for dimension in value.type.tensor_type.shape.dim)
        for value in model.graph.input
    }


def _fixed(shapes: Shapes, bucket: int) -> dict[str, tuple[int, ...]]:
    return {name: tuple(bucket if size is None else size for size in shape) for name, shape in shapes.items()}


@functools.cache
def _register() -> None:
    """Once a process; a failure is not kept, so that a repaired machine needs no new process."""
    if tuple(int(part) for part in ort.__version__.split(".")[:2]) < OLDEST_ORT:
        raise EngineError(
            f"TensorRT-RTX: onnxruntime: expected >= {'.'.join(map(str, OLDEST_ORT))} (Python 3.11 or newer), "
            f"got {ort.__version__}; pip install --upgrade onnxruntime"
        )
    try:
        wheel = importlib.import_module("onnxruntime_ep_nv_tensorrt_rtx")
    except ImportError as error:
        raise EngineError(f"TensorRT-RTX: expected its plug-in, got: {error}; pip install {WHEEL}") from error
    try:
        ort.register_execution_provider_library(PLUGIN, wheel.get_library_path())
    except Exception as error:  # see above
        raise EngineError(f"TensorRT-RTX: expected an NVIDIA driver with CUDA 13, got: {error}") from error
