"""What every inference engine offers; the compliance suite in `test/engines` holds each one to this."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_ros.bundle import Bundle
from vla_ros.errors import EngineError


class Engine(Protocol):
    """Runs a bundle's graph where it was asked to, or does not open."""

    def infer(
        self, pixel_values: NDArray[np.float32], input_ids: NDArray[np.int64], query_index: int
    ) -> NDArray[np.float32]:
        """One forward pass.

        Args:
            pixel_values: float32 [1, patches, features].
            input_ids: int64 [max_tokens].
            query_index: position of the ActionQuery.

        Returns:
            float32 [chunk_size, 7], model units: arm in [-1, 1], gripper logit.

        Raises:
            EngineError: the pass failed.
        """


ENGINES = ("onnx_cpu",)


def open_engine(name: str, bundle: Bundle, threads: int) -> Engine:
    """Open an engine by name.

    Args:
        name: one of ENGINES.
        threads: CPU threads of one forward pass.

    Raises:
        EngineError: no such engine, or it cannot run here.
    """
    if name == "onnx_cpu":
        from vla_ros.engines.onnx_engine import OnnxEngine

        return OnnxEngine(bundle, threads)
    raise EngineError(f"engine: expected one of {', '.join(ENGINES)}, got {name!r}")
