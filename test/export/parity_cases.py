"""Chunks whose errors are known by hand."""

import numpy as np
from numpy.typing import NDArray

from vla_ros.export.parity import ARM_SCALE, Parity

FRAMES, CHUNK = 3, 2
RANGE = np.array([0.01] * 3 + [0.1] * 3, np.float32)
"""What an output of 1 stands for [m, rad]."""

Chunks = NDArray[np.float32]


def to_actions(outputs: Chunks) -> Chunks:
    """Model units to SI units."""
    arm = np.clip(outputs[..., :6], -1, 1) * RANGE
    return np.concatenate([arm, (outputs[..., 6:] > 0).astype(np.float32)], axis=-1)


def answers(**errors: dict[tuple[int, int], float]) -> tuple[Chunks, Chunks]:
    """Torch's and an engine's outputs, which differ by these errors in m or rad, by dimension and (frame, step)."""
    reference = np.full((FRAMES, CHUNK, 7), 0.25, np.float32)
    outputs = reference.copy()
    for name, places in errors.items():
        dimension = ("x", "y", "z", "rx", "ry", "rz").index(name)
        for place, error in places.items():
            outputs[(*place, dimension)] += error / RANGE[dimension]
    return reference, outputs


def measure(reference: Chunks, outputs: Chunks) -> Parity:
    return Parity.measure(reference, outputs, to_actions(reference), to_actions(outputs), "onnx_cpu")


def degrees(value: float) -> float:
    """In rad."""
    return float(value / ARM_SCALE[3])
