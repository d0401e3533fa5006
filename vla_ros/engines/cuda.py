"""The CUDA runtime as an engine needs it: the GPU's name, pinned buffers, a stream, captured graphs.

Through NVIDIA's `cuda-bindings`, a thin wheel for x86-64 and Jetson alike: a robot has no torch.
"""

import ctypes
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.errors import EngineError

INSTALL = "pip install 'cuda-bindings==12.*' (JetPack 6) or 'cuda-bindings==13.*'"
TIMEOUT_S = 10.0
"""A forward pass takes less than one; one that takes longer hangs."""
POLL_S = 50e-6
"""Short against a forward pass (tens of milliseconds), long enough to leave the core to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """The GPU that this process uses: the first one that CUDA_VISIBLE_DEVICES leaves."""

    name: str
    compute_capability: str


@dataclass(frozen=True, slots=True)
class Buffer:
    """The same bytes on both sides.

    Attributes:
        host: in page-locked memory, which a copy to the GPU needs in order not to wait.
        device: address on the GPU.
    """

    host: NDArray[Any]
    device: int


class Cuda:
    """One stream of the current GPU and the memory used with it, given back when nothing refers to this any more.

    Not for several threads at once.
    """

    def __init__(self) -> None:
        """Raises EngineError if the bindings, a driver or a GPU is missing."""
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise EngineError(f"CUDA: expected the Python package cuda-bindings, got: {error}; {INSTALL}") from error
        self._runtime = runtime
        self.stream = int(self.call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking))
        self._hosts: list[int] = []
        self._devices: list[int] = []
        self._graphs: list[Any] = []
        weakref.finalize(self, _release, runtime, self.stream, self._graphs, self._devices, self._hosts)

    def call(self, function: str, *arguments: Any) -> Any:
        """One function of the CUDA runtime, and what it returns besides its status.

        Raises:
            EngineError: the status is not success: no driver, out of memory, a kernel that failed.
        """
        status, *results = getattr(self._runtime, function)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            text = self._runtime.cudaGetErrorString(status)[1]
            raise EngineError(f"CUDA: {function}: expected success, got: {text.decode()} ({status.name})")
        return results[0] if results else None

    def gpu(self) -> Gpu:
        """Which GPU this is."""
        properties = self.call("cudaGetDeviceProperties", self.call("cudaGetDevice"))
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        return Gpu(name=name.rstrip("\0"), compute_capability=f"{properties.major}.{properties.minor}")

    def buffer(self, shape: tuple[int, ...], dtype: type[np.generic]) -> Buffer:
        """A pair of buffers. Raises EngineError if either memory is full."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        host = int(self.call("cudaHostAlloc", size, self._runtime.cudaHostAllocDefault))
        self._hosts.append(host)
        device = int(self.call("cudaMalloc", size))
        self._devices.append(device)
        return Buffer(_array(host, size).view(dtype).reshape(shape), device)

    def upload(self, buffer: Buffer) -> None:
        """Enqueue the copy to the GPU."""
        self._copy(buffer.device, buffer.host.ctypes.data, buffer, "cudaMemcpyHostToDevice")

    def download(self, buffer: Buffer) -> None:
        """Enqueue the copy from the GPU."""
        self._copy(buffer.host.ctypes.data, buffer.device, buffer, "cudaMemcpyDeviceToHost")

    def capture(self, enqueue: Callable[[], None]) -> Any:
        """What `enqueue` puts on the stream, as a graph that `launch` replays with one call to the driver.

        Raises:
            EngineError: something in it cannot be captured.
        """
        # thread local: what other threads of this process do to the GPU meanwhile is no business of this graph
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", self.stream, mode)
        try:
            enqueue()
        except BaseException:
            self._runtime.cudaStreamEndCapture(self.stream)  # else the stream would go on recording
            raise
        graph = self.call("cudaStreamEndCapture", self.stream)
        try:
            self._graphs.append(self.call("cudaGraphInstantiate", graph, 0))
        finally:
            self.call("cudaGraphDestroy", graph)
        return self._graphs[-1]

    def launch(self, graph: Any) -> None:
        """Enqueue a captured graph."""
        self.call("cudaGraphLaunch", graph, self.stream)

    def wait(self, timeout_s: float = TIMEOUT_S) -> None:
        """Until the stream is empty. CUDA's own call would occupy a core and never give up.

        Raises:
            EngineError: a kernel failed, or the stream is not empty in time [s].
        """
        deadline = time.monotonic() + timeout_s
        status = self._runtime.cudaError_t
        while self._runtime.cudaStreamQuery(self.stream)[0] == status.cudaErrorNotReady:
            if time.monotonic() > deadline:
                raise EngineError(f"CUDA: expected an answer of the GPU within {timeout_s:g} s, got none")
            time.sleep(POLL_S)
        self.call("cudaStreamQuery", self.stream)  # an error of a kernel shows here

    def _copy(self, target: int, source: int, buffer: Buffer, kind: str) -> None:
        direction = getattr(self._runtime.cudaMemcpyKind, kind)
        self.call("cudaMemcpyAsync", target, source, buffer.host.nbytes, direction, self.stream)


def _array(address: int, size: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def _release(runtime: Any, stream: int, graphs: list[Any], devices: list[int], hosts: list[int]) -> None:
    """Statuses are ignored: at the end of the process the driver may be gone already."""
    for graph in graphs:
        runtime.cudaGraphExecDestroy(graph)
    for device in devices:
        runtime.cudaFree(device)
    for host in hosts:
        runtime.cudaFreeHost(host)
    runtime.cudaStreamDestroy(stream)
