"""TensorRT-RTX's own builder and ONNX parser, called through ctypes: its plug-in's wheel has no Python API for them.

The libraries export three C functions; everything behind those is C++ virtual methods, called here by their place in
the table of their class. The places are those of one release (see `TABLES`), so any other release is refused. A wrong
place would end the process, not raise: `rtx_compiler` therefore runs this module in a process of its own.
"""

import ctypes
from collections.abc import Iterator, Sequence
from ctypes import POINTER, byref, c_bool, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vla_ros.errors import EngineError

WHEEL = "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0"
RELEASE = 107
"""Major * 100 + minor of the TensorRT-RTX whose method tables are below; the wheel above holds 1.7.1."""

# Places 0 and 1 are the destructor. Read from the wheel's libtensorrt_shim.so, whose wrapper classes name every method:
# `nm -D -S` gives the addresses of "vtable for nvinfer1::apiv::VShim...", `readelf -r` what stands in them.
TABLES = {
    "builder": {
        "createBuilderConfig": 5,
        "createNetworkV2": 6,
        "createOptimizationProfile": 7,
        "buildSerializedNetwork": 11,
    },
    "config": {"addOptimizationProfile": 23},
    "network": {"getNbLayers": 12, "getNbInputs": 14, "getInput": 15},
    "tensor": {"getName": 3, "getDimensions": 5},
    "profile": {"setDimensions": 2},
    "memory": {"data": 2, "size": 3},
    "parser": {"parseFromFile": 1, "getNbErrors": 3, "getError": 4},  # NvOnnxParser.h, TensorRT's open-source part
    "error": {"desc": 1, "nodeName": 6, "nodeOperator": 7},
}
WITHOUT_IMPLEMENTATION = ("parser", "error")
"""Their methods are virtual themselves; every other class forwards to the object at its second word."""

MIN, OPT, MAX = 0, 1, 2
WARNING = 2
LOGGER_PLACES, LOG = 5, 4  # ILogger: API language, interface info, destructor (two places), log
LOG_TYPE = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_int32, c_char_p)


class Dimensions(ctypes.Structure):
    """nvinfer1::Dims64."""

    _fields_ = (("rank", c_int32), ("sizes", c_int64 * 8))


@dataclass(frozen=True, slots=True)
class Built:
    """What the compiler made of a graph.

    Attributes:
        layers: of the parsed network.
        engine: the serialised engine, for every RTX GPU from Ampere on.
    """

    layers: int
    engine: bytes


class _Object:
    """A C++ object of one of `TABLES`' classes."""

    def __init__(self, kind: str, address: int | None, log: Sequence[str]) -> None:
        if not address:
            raise EngineError(f"TensorRT-RTX: expected a {kind}, got: {'; '.join(log) or 'nothing, and no reason'}")
        self.address = address
        self._places = TABLES[kind]
        self._this = address if kind in WITHOUT_IMPLEMENTATION else _word(address + ctypes.sizeof(c_void_p))

    def call(self, method: str, result: Any, *arguments: tuple[Any, Any]) -> Any:
        """One method; `arguments` are pairs of ctypes type and value."""
        place = _word(_word(self._this) + self._places[method] * ctypes.sizeof(c_void_p))
        function = ctypes.CFUNCTYPE(result, c_void_p, *(kind for kind, _ in arguments))(place)
        return function(self._this, *(value for _, value in arguments))


class RtxLibrary:
    """The compiler of the installed wheel.

    Attributes:
        version: of TensorRT-RTX.
        log: what it logged as a warning or worse.
    """

    def __init__(self) -> None:
        """Raises EngineError if the wheel is missing, or of another release."""
        folder = library_folder()
        self._infer = _load(folder, "libtensorrt_rtx.so")
        self._onnx = _load(folder, "libtensorrt_onnxparser_rtx.so")
        number = int(self._infer.getInferLibVersion())
        self.version = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
        if number // 100 != RELEASE:
            raise EngineError(f"{folder}: expected TensorRT-RTX 1.7, got {self.version}; pip install {WHEEL}")
        self.log: list[str] = []
        self._logger = self._make_logger()

    def build(self, graph: Path, buckets: Sequence[int]) -> Built:
        """Parse a graph and compile it, one optimisation profile a bucket.

        Args:
            graph: an ONNX file; external data stands beside it.
            buckets: what its one symbolic dimension is in each profile.

        Raises:
            EngineError: an operator or a shape is refused.
        """
        builder = self._create_builder()
        config = self._object("config", builder.call("createBuilderConfig", c_void_p))
        network = self._object("network", builder.call("createNetworkV2", c_void_p, (c_uint32, 0)))
        self._parse(network, graph)
        for bucket in buckets:
            profile = self._object("profile", builder.call("createOptimizationProfile", c_void_p))
            _set_shapes(profile, self._inputs(network), bucket)
            if config.call("addOptimizationProfile", c_int32, (c_void_p, profile.address)) < 0:
                raise EngineError(f"{graph}: tokens {bucket}: expected a profile, got: {'; '.join(self.log)}")
        arguments = ((c_void_p, network.address), (c_void_p, config.address))
        serialized = builder.call("buildSerializedNetwork", c_void_p, *arguments)
        if not serialized:
            raise EngineError(f"{graph}: expected an engine, got: {'; '.join(self.log) or 'none, and no reason'}")
        memory = self._object("memory", serialized)
        size = memory.call("size", c_size_t)
        # nothing is freed: the process ends after one graph
        return Built(network.call("getNbLayers", c_int32), ctypes.string_at(memory.call("data", c_void_p), size))

    def _parse(self, network: _Object, graph: Path) -> None:
        create = self._onnx.createNvOnnxParser_INTERNAL
        create.restype, create.argtypes = c_void_p, (c_void_p, c_void_p, c_int32)
        version = self._onnx.getNvOnnxParserVersion()
        parser = self._object("parser", create(network.address, ctypes.addressof(self._logger), version))
        if parser.call("parseFromFile", c_bool, (c_char_p, str(graph).encode()), (c_int32, WARNING)):
            return
        errors = [
            self._object("error", parser.call("getError", c_void_p, (c_int32, index)))
            for index in range(parser.call("getNbErrors", c_int32))
        ]
        reasons = [
            " ".join(error.call(field, c_char_p).decode() for field in ("nodeOperator", "nodeName", "desc"))
            for error in errors
        ]
        raise EngineError(f"{graph}: expected a graph for TensorRT-RTX, got: {'; '.join(reasons or self.log)}")

    def _inputs(self, network: _Object) -> Iterator[_Object]:
        for index in range(network.call("getNbInputs", c_int32)):
            yield self._object("tensor", network.call("getInput", c_void_p, (c_int32, index)))

    def _object(self, kind: str, address: int | None) -> _Object:
        return _Object(kind, address, self.log)

    def _create_builder(self) -> _Object:
        create = self._infer.createInferBuilder_INTERNAL
        create.restype, create.argtypes = c_void_p, (c_void_p, c_int32)
        return self._object("builder", create(ctypes.addressof(self._logger), self._infer.getInferLibVersion()))

    def _make_logger(self) -> Any:
        def write(_this: int, severity: int, message: bytes) -> int:
            if severity <= WARNING:
                self.log.append(" ".join(message.decode(errors="replace").split()))
            return 0

        ignore = LOG_TYPE(lambda *_: 0)  # this release was not seen to call the other methods
        self._methods = [LOG_TYPE(write) if place == LOG else ignore for place in range(LOGGER_PLACES)]
        self._table = (c_void_p * LOGGER_PLACES)(*(ctypes.cast(method, c_void_p) for method in self._methods))
        return c_void_p(ctypes.addressof(self._table))  # an object without fields: its table alone


def library_folder() -> Path:
    """Where the wheel's libraries stand.

    Raises:
        EngineError: it is not installed.
    """
    spec = find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    if spec is None or not spec.submodule_search_locations:
        raise EngineError(f"TensorRT-RTX: expected its wheel (Linux, x86-64), got none; pip install {WHEEL}")
    return Path(next(iter(spec.submodule_search_locations)))


def _set_shapes(profile: _Object, inputs: Iterator[_Object], bucket: int) -> None:
    for tensor in inputs:
        shape = tensor.call("getDimensions", Dimensions)
        shape.sizes[:] = [bucket if size == -1 else size for size in shape.sizes]
        name = tensor.call("getName", c_char_p)
        for end in (MIN, OPT, MAX):
            profile.call("setDimensions", c_bool, (c_char_p, name), (c_int32, end), (c_void_p, byref(shape)))


def _load(folder: Path, name: str) -> ctypes.CDLL:
    found = sorted(folder.glob(f"{name}.*.*"))
    if not found:
        raise EngineError(f"{folder}: expected {name}, got none; pip install --force-reinstall {WHEEL}")
    try:
        return ctypes.CDLL(str(found[-1]), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise EngineError(f"{found[-1]}: expected a library for this machine, got: {error}") from error


def _word(address: int) -> int:
    return int(ctypes.cast(address, POINTER(c_void_p))[0] or 0)
