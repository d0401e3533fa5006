"""From a bundle's graph to a TensorRT engine: 10.x and 11.x, strongly typed, one optimisation profile a bucket.

Strongly typed means that the types in the graph are the types that run: precision is decided at export, by casts and
explicit Q/DQ pairs, and nowhere else. TensorRT 11 knows nothing else; 10 is told to.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from vla_ros.engines.tensorrt_cache import Progress
from vla_ros.errors import EngineError

FLAGS = ("strongly_typed", "no_tf32")
"""What `TensorRTBuilder` sets, for the engine's key: change them together."""

INSTALL = "on a Jetson it is part of JetPack; elsewhere `pip install tensorrt`"


def import_tensorrt() -> ModuleType:
    """Raises EngineError if it is not installed."""
    try:
        import tensorrt
    except ImportError as error:
        raise EngineError(f"tensorrt: expected NVIDIA's Python package, got: {error}; {INSTALL}") from error
    module: ModuleType = tensorrt
    return module


class TensorRTLog:
    """What TensorRT logs as an error: its functions return None, and the reason stands here.

    Attributes:
        logger: for TensorRT; must live as long as anything made with it.
        errors: in order.
    """

    def __init__(self, trt: Any) -> None:
        errors: list[str] = []
        severe = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

        class Logger(trt.ILogger):  # type: ignore[name-defined, misc]
            def log(self, severity: Any, message: str) -> None:
                if severity in severe:
                    errors.append(" ".join(message.split()))

        self.errors = errors
        self.logger = Logger()

    def refusal(self, what: str, expected: str) -> EngineError:
        """The error to raise, with all that was logged."""
        return EngineError(f"{what}: expected {expected}, got: {'; '.join(self.errors) or 'nothing, and no reason'}")


class TensorRTBuilder:
    """Builds the engine of one graph; an `EngineBuilder`."""

    def __init__(self, trt: Any, log: TensorRTLog, graph: Path, buckets: Sequence[int], threads: int) -> None:
        """What to build.

        Args:
            trt: the module `tensorrt`.
            log: takes TensorRT's errors.
            graph: policy.onnx, verified; its data stands beside it.
            buckets: values of its symbolic dimension `tokens`.
            threads: of the CPU, while it builds.
        """
        self._trt, self._log, self._graph = trt, log, graph
        self._buckets, self._threads = tuple(buckets), threads

    def build(self, progress: Progress) -> bytes:
        """The serialised engine.

        Raises:
            EngineError: TensorRT refuses the graph, or runs out of memory.
        """
        trt = self._trt
        builder = trt.Builder(self._log.logger)
        if builder is None:
            raise self._log.refusal("TensorRT", "a GPU to build for")
        builder.max_threads = self._threads
        network = builder.create_network(_network_flags(trt))
        parser = trt.OnnxParser(network, self._log.logger)
        if not parser.parse_from_file(str(self._graph)):
            reasons = [str(parser.get_error(index)) for index in range(parser.num_errors)]
            raise EngineError(
                f"{self._graph}: expected a graph for TensorRT {trt.__version__}, got: {'; '.join(reasons)}"
            )
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default: float32 in the graph would not be float32
        config.progress_monitor = _monitor(trt, progress)
        for bucket in self._buckets:
            self._add_profile(builder, network, config, bucket)
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise self._log.refusal(str(self._graph), f"an engine of TensorRT {trt.__version__}")
        return bytes(engine)

    def _add_profile(self, builder: Any, network: Any, config: Any, bucket: int) -> None:
        """One call of the engine has exactly one of these shapes, so minimum, optimum and maximum are the same."""
        profile = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            shape = tuple(bucket if size == -1 else size for size in tensor.shape)
            profile.set_shape(tensor.name, shape, shape, shape)
        if config.add_optimization_profile(profile) < 0:
            raise self._log.refusal(f"{self._graph}: tokens {bucket}", "a valid optimisation profile")


def _network_flags(trt: Any) -> int:
    """TensorRT 11 deprecates the flag, as nothing else is left."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _monitor(trt: Any, progress: Progress) -> Any:
    """Forwards TensorRT's phases, which nest: the outermost ones only, the inner ones come by the thousand."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self.steps[phase_name] = num_steps
                progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self.steps:
                progress(phase_name, step + 1, self.steps[phase_name])
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in self.steps:
                total = self.steps.pop(phase_name)
                progress(phase_name, total, total)

    return Monitor()
