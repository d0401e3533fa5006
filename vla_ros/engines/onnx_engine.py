"""ONNX Runtime on the CPU."""

import os

import numpy as np
from numpy.typing import NDArray

from vla_ros.bundle import Bundle
from vla_ros.errors import EngineError

# ONNX Runtime's wheels report usage to their maker unless told not to before the import; a robot reports to nobody
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

PROVIDER = "CPUExecutionProvider"


class OnnxEngine:
    """A session over the bundle's verified bytes, with a fixed number of threads."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Raises EngineError if ONNX Runtime refuses the graph."""
        if threads < 1:
            raise EngineError(f"threads: expected >= 1, got {threads}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # a spinning pool would take the cores from the simulator or the camera driver beside it
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._name = str(bundle.path / "policy.onnx")
        try:
            self._session = ort.InferenceSession(bundle.read("policy.onnx"), options, providers=[PROVIDER])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise EngineError(f"{self._name}: expected a graph that ONNX Runtime runs, got: {error}") from error
        expected = {"pixel_values", "input_ids", "query_index"}
        got = {node.name for node in self._session.get_inputs()}
        if got != expected:
            raise EngineError(f"{self._name}: inputs: expected {sorted(expected)}, got {sorted(got)}")

    def infer(
        self, pixel_values: NDArray[np.float32], input_ids: NDArray[np.int64], query_index: int
    ) -> NDArray[np.float32]:
        """See `Engine.infer`."""
        feeds = {
            "pixel_values": pixel_values,
            "input_ids": input_ids[None],
            "query_index": np.array([query_index], np.int64),
        }
        try:
            (output,) = self._session.run(None, feeds)
        except Exception as error:  # see above
            raise EngineError(f"{self._name}: expected an answer, got: {error}") from error
        return np.asarray(output[0], dtype=np.float32)
