"""Stand-ins for `tensorrt` and `cuda.bindings.runtime`: what the engine asks of them, and in which order.

Arrays are real: device memory is host memory, a captured graph replays the captured calls, and the fake engine's pass
computes `actions` from the bytes at the addresses it was given. So a wrong address, a forgotten copy or a replay that
reads the last call's inputs shows.
"""

import ctypes
import enum
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

CHUNK, PATCHES, FEATURES, HIDDEN = 4, 2, 3, 5
SHAPES = {"pixel_values": (1, PATCHES, FEATURES), "text_embeds": (1, -1, HIDDEN), "query_index": (1,)}
DTYPES = {"pixel_values": "f4", "text_embeds": "f4", "query_index": "i8", "actions": "f4"}


def expected_actions(pixel_values: np.ndarray, text_embeds: np.ndarray, query_index: int) -> np.ndarray:
    """What the fake network answers, float32 [CHUNK, 7]."""
    base = np.arange(CHUNK * 7, dtype=np.float32).reshape(CHUNK, 7)
    return base + np.float32(pixel_values.sum()) + np.float32(text_embeds.sum()) * 10 + np.float32(query_index) * 100


class Status(enum.Enum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815
    cudaErrorLaunchFailure = 719  # noqa: N815
    cudaErrorNotReady = 600  # noqa: N815


class FakeCuda:
    """`cuda.bindings.runtime`.

    Attributes:
        calls: names of the functions called.
        fail: status by function, for every call of it.
        name: of the GPU.
        pending: how often the stream is not ready yet.
    """

    cudaError_t = Status  # noqa: N815
    cudaStreamNonBlocking = 1  # noqa: N815
    cudaHostAllocDefault = 0  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail: dict[str, Status] = {}
        self.name = "Orin"
        self.pending = 0
        self.captured: list[Callable[[], None]] | None = None
        self.memory: dict[int, Any] = {}

    def __getattr__(self, function: str) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(function)
            if function in self.fail:
                return self.fail[function], None
            result = getattr(self, f"_{function}", lambda *_: None)(*arguments)
            return (Status.cudaSuccess,) if result is None else (Status.cudaSuccess, result)

        if not function.startswith("cuda"):
            raise AttributeError(function)
        return call

    def enqueue(self, work: Callable[[], None]) -> None:
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def cudaGetErrorString(self, status: Status) -> tuple[Status, bytes]:  # noqa: N802
        return Status.cudaSuccess, f"text of {status.value}".encode()

    def cudaStreamQuery(self, _stream: int) -> tuple[Status, ...]:  # noqa: N802
        self.pending -= 1
        if self.pending >= 0:
            return (Status.cudaErrorNotReady,)
        return (self.fail.get("kernel", Status.cudaSuccess),)

    def _cudaStreamCreateWithFlags(self, _flags: int) -> int:  # noqa: N802
        return 77

    def _cudaGetDevice(self) -> int:  # noqa: N802
        return 0

    def _cudaGetDeviceProperties(self, _device: int) -> Any:  # noqa: N802
        return SimpleNamespace(name=self.name.encode() + b"\0\0", major=8, minor=7)

    def _cudaMalloc(self, size: int) -> int:  # noqa: N802
        memory = (ctypes.c_uint8 * size)(*[0xFF] * size)
        self.memory[ctypes.addressof(memory)] = memory
        return ctypes.addressof(memory)

    def _cudaHostAlloc(self, size: int, _flags: int) -> int:  # noqa: N802
        return self._cudaMalloc(size)

    def _cudaMemcpyAsync(self, target: int, source: int, size: int, _kind: int, stream: int) -> None:  # noqa: N802
        assert stream == 77
        self.enqueue(lambda: ctypes.memmove(target, source, size) and None)

    def _cudaStreamBeginCapture(self, _stream: int, _mode: int) -> None:  # noqa: N802
        self.captured = []

    def _cudaStreamEndCapture(self, _stream: int) -> Any:  # noqa: N802
        graph, self.captured = self.captured, None
        return graph

    def _cudaGraphInstantiate(self, graph: Any, _flags: int) -> Any:  # noqa: N802
        return list(graph)

    def _cudaGraphLaunch(self, graph: Any, _stream: int) -> None:  # noqa: N802
        for work in graph:
            work()


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class _Logger:
    Severity = Severity


class _Monitor:
    pass


class FakeTensorRT(ModuleType):
    """`tensorrt`, of a version.

    Attributes:
        built: what each build was asked for: flags, profiles, threads, graph.
        refuses: "" or what fails: parse, build, deserialize, context, execute.
        names, dtypes, shape_tensors: of the engine's tensors.
        contexts: made so far.
    """

    def __init__(self, cuda: FakeCuda, version: str = "10.3.0", strongly_typed: int | None = 1) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.cuda = cuda
        self.built: list[Any] = []
        self.refuses = ""
        self.names = [*SHAPES, "actions"]
        self.dtypes = dict(DTYPES)
        self.shape_tensors: set[str] = set()
        self.contexts: list[Any] = []
        self.ILogger, self.IProgressMonitor = _Logger, _Monitor
        flags = {} if strongly_typed is None else {"STRONGLY_TYPED": strongly_typed}
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**flags)
        self.BuilderFlag = SimpleNamespace(TF32="TF32")
        self.nptype = np.dtype

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        return _Builder(self, logger)

    def OnnxParser(self, network: Any, _logger: Any) -> Any:  # noqa: N802
        def parse_from_file(path: str) -> bool:
            network.graph = path
            return self.refuses != "parse"

        error = "In node 3 (importNonZero): UNSUPPORTED_NODE"
        return SimpleNamespace(parse_from_file=parse_from_file, num_errors=1, get_error=lambda _index: error)

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        def deserialize(engine: bytes) -> Any:
            if self.refuses == "deserialize":
                logger.log(Severity.ERROR, "serialised with another version")
                return None
            assert engine.startswith(b"engine of ")
            return _Engine(self, logger)

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class _Builder:
    def __init__(self, trt: FakeTensorRT, logger: Any) -> None:
        self.trt, self.logger, self.max_threads = trt, logger, 1

    def create_network(self, flags: int) -> Any:
        tensors = [SimpleNamespace(name=name, shape=shape) for name, shape in SHAPES.items()]
        return SimpleNamespace(flags=flags, num_inputs=len(tensors), get_input=tensors.__getitem__, graph="")

    def create_builder_config(self) -> Any:
        config = SimpleNamespace(profiles=[], cleared=[], progress_monitor=None)
        config.clear_flag = config.cleared.append
        config.add_optimization_profile = lambda profile: config.profiles.append(profile.shapes) or 0
        return config

    def create_optimization_profile(self) -> Any:
        shapes: dict[str, Any] = {}
        return SimpleNamespace(shapes=shapes, set_shape=lambda name, *ends: shapes.update({name: ends}))

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        if self.trt.refuses == "build":
            self.logger.log(Severity.WARNING, "only a warning")
            self.logger.log(Severity.ERROR, "Error Code 2: OutOfMemory (no further\n information)")
            return None
        config.progress_monitor.phase_start("Building Engine", None, 2)
        config.progress_monitor.phase_start("Tactic Selection", "Building Engine", 1000)
        assert config.progress_monitor.step_complete("Tactic Selection", 0)
        assert config.progress_monitor.step_complete("Building Engine", 0)
        config.progress_monitor.phase_finish("Tactic Selection")
        config.progress_monitor.phase_finish("Building Engine")
        self.trt.built.append(
            SimpleNamespace(
                flags=network.flags, graph=network.graph, profiles=config.profiles, cleared=config.cleared,
                threads=self.max_threads,
            )
        )  # fmt: skip
        return f"engine of {self.trt.__version__}".encode()


class _Engine:
    def __init__(self, trt: FakeTensorRT, logger: Any) -> None:
        self.trt, self.logger, self.num_io_tensors = trt, logger, len(trt.names)

    def get_tensor_name(self, index: int) -> str:
        return self.trt.names[index]

    def get_tensor_dtype(self, name: str) -> str:
        return self.trt.dtypes[name]

    def is_shape_inference_io(self, name: str) -> bool:
        return name in self.trt.shape_tensors

    def get_tensor_profile_shape(self, name: str, profile: int) -> Any:
        return self.trt.built[-1].profiles[profile][name]

    def create_execution_context(self) -> Any:
        if self.trt.refuses == "context":
            self.logger.log(Severity.ERROR, "cudaMalloc of 3 GiB failed")
            return None
        self.trt.contexts.append(_Context(self.trt))
        return self.trt.contexts[-1]


class _Context:
    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt = trt
        self.profile = -1
        self.shapes: dict[str, tuple[int, ...]] = {"actions": (1, CHUNK, 7)}
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        assert stream == 77
        self.profile = profile
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return shape == self.trt.built[-1].profiles[self.profile][name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 77
        self.trt.cuda.enqueue(self._run)
        return self.trt.refuses != "execute"

    def _run(self) -> None:
        pixels, text, query = (self._read(name) for name in ("pixel_values", "text_embeds", "query_index"))
        actions = expected_actions(pixels, text, int(query[0])).astype("f4")
        ctypes.memmove(self.addresses["actions"], actions.ctypes.data, actions.nbytes)

    def _read(self, name: str) -> np.ndarray:
        shape, dtype = self.shapes[name], np.dtype(DTYPES[name])
        size = int(np.prod(shape)) * dtype.itemsize
        return np.frombuffer(ctypes.string_at(self.addresses[name], size), dtype).reshape(shape)
