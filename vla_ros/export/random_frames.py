"""Synthetic camera frames for benchmarks and tests of random weights: they look natural, and show nothing real.

No torch is imported here, so that a process that measures an engine's memory can draw its own frames.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.observation import CameraSpec, Observation

CAMERA = CameraSpec(name="synthetic", width=224, height=224)
INSTRUCTIONS = (
    "pick up the alphabet soup and place it in the basket",
    "open the middle drawer of the cabinet",
    "push the plate to the front of the stove",
    "put the wine bottle on top of the cabinet",
    "turn on the stove",
)
"""As LIBERO's are; the first is the longest, of eleven words."""
_OCTAVES = (4, 8, 16, 32, 64)
_OBJECTS = 6
_NOISE = 2.0
"""Standard deviation of the sensor's noise, of 255."""


def random_frames(
    count: int, seed: int, camera: CameraSpec = CAMERA, instructions: Sequence[str] = INSTRUCTIONS
) -> list[Observation]:
    """Shaded objects in front of a textured gradient; the instructions take turns.

    What activations they cause is nearer to a camera's than that of zeros or of pure noise, and nothing more: ranges
    for quantising a trained policy are found on frames of its data set.
    """
    random = np.random.default_rng(seed)
    return [
        Observation(image=_image(random, camera), instruction=instructions[number % len(instructions)], stamp_ns=0)
        for number in range(count)
    ]


def _image(random: np.random.Generator, camera: CameraSpec) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]."""
    shape = (camera.height, camera.width)
    canvas = _gradient(random, shape) + 30 * _texture(random, shape)[..., None]
    for _ in range(_OBJECTS):
        canvas = _with_object(random, canvas)
    blurred = cv2.GaussianBlur(canvas, (0, 0), 0.7)
    noisy = blurred + _NOISE * random.standard_normal(blurred.shape, np.float32)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _gradient(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """From one colour to another across the picture, in a random direction; float32 [height, width, 3]."""
    first, second = random.uniform(40, 220, (2, 3)).astype(np.float32)
    share = _ramp(random, shape)[..., None]
    return np.asarray(first * (1 - share) + second * share, np.float32)


def _ramp(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """0 to 1, float32 [height, width]."""
    angle = random.uniform(0, 2 * np.pi)
    rows, columns = np.meshgrid(*(np.linspace(-0.5, 0.5, side) for side in shape), indexing="ij")
    return np.asarray(np.clip(0.5 + (rows * np.sin(angle) + columns * np.cos(angle)), 0, 1), np.float32)


def _texture(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Noise whose coarse structures are the strong ones, as in photographs; about +-1, float32 [height, width]."""
    total = np.zeros(shape, np.float32)
    for cells in _OCTAVES:
        grid = random.standard_normal((cells, cells), np.float32)
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) * (_OCTAVES[0] / cells)
    return total


def _with_object(random: np.random.Generator, canvas: NDArray[np.float32]) -> NDArray[np.float32]:
    """A shaded ellipse or box somewhere in the picture."""
    shape = (canvas.shape[0], canvas.shape[1])
    side = min(shape)
    center = tuple(int(random.uniform(0.1, 0.9) * length) for length in reversed(shape))
    axes = tuple(int(random.uniform(0.04, 0.2) * side) + 1 for _ in range(2))
    angle = float(random.uniform(0, 180))
    mask = np.zeros(shape, np.float32)
    if random.random() < 0.5:
        cv2.ellipse(mask, center, axes, angle, 0, 360, 1.0, -1, cv2.LINE_AA)
    else:
        corners = cv2.boxPoints((center, (2 * axes[0], 2 * axes[1]), angle))
        cv2.fillConvexPoly(mask, corners.astype(np.int32), 1.0, cv2.LINE_AA)
    shade = 0.6 + 0.8 * _ramp(random, shape)[..., None]
    colour = random.uniform(20, 235, 3).astype(np.float32)
    return np.asarray(canvas * (1 - mask[..., None]) + colour * shade * mask[..., None], np.float32)
