"""What every reader demands of an episode, so that all formats refuse the same and in the same words."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.data.conventions import ActionConvention
from vla_ros.errors import DatasetError, ObservationError
from vla_ros.processing.instruction import check_instruction

MIN_STEPS = 2
"""A single frame shows no motion."""

_UNIT_TOLERANCE = 1e-3


def checked_actions(values: NDArray[Any], convention: ActionConvention, where: str) -> NDArray[np.float32]:
    """Actions in a data set's units, [T, 7], as float32 [T, 7] in m, rad and gripper opening.

    Args:
        where: `<file>: <dotted.path>` of the numbers.

    Raises:
        DatasetError: too few steps, misshapen, not finite, or outside what the convention allows; names the step.
    """
    if values.dtype.kind not in "fiu" or values.ndim != 2 or values.shape[1] != len(ACTION_NAMES):
        raise DatasetError(
            f"{where}: expected numbers [n, {len(ACTION_NAMES)}], got {values.dtype} {list(values.shape)}"
        )
    if len(values) < MIN_STEPS:
        raise DatasetError(f"{where}: expected at least {MIN_STEPS} steps, got {len(values)}")
    check_finite(values, where)
    if convention.is_bounded:
        is_beyond = np.abs(values) > 1 + _UNIT_TOLERANCE
        is_beyond[:, ARM_DIM] = False
        _refuse(values, is_beyond, where, "units in [-1, 1]")
    low, high = sorted((convention.gripper_closed, convention.gripper_open))
    gripper = values[:, ARM_DIM]
    is_outside = np.zeros(values.shape, np.bool_)
    is_outside[:, ARM_DIM] = (gripper < low - _UNIT_TOLERANCE) | (gripper > high + _UNIT_TOLERANCE)
    wanted = f"{convention.gripper_closed:g} (closed) to {convention.gripper_open:g} (open)"
    _refuse(values, is_outside, where, wanted)
    with np.errstate(over="ignore"):
        actions = convention.to_si(values)
    check_finite(actions, where)  # what float32 cannot hold is infinite
    return actions


def check_finite(values: NDArray[Any], where: str) -> None:
    """Raises DatasetError, which names step and dimension, if a number of [T, 7] is NaN or infinite."""
    _refuse(values, ~np.isfinite(values), where, "a finite number")


def _refuse(values: NDArray[Any], is_bad: NDArray[np.bool_], where: str, expected: str) -> None:
    if is_bad.any():
        step, column = np.argwhere(is_bad)[0]
        found = values[step, column]
        raise DatasetError(f"{where}[{step}].{ACTION_NAMES[column]}: expected {expected}, got {found:.4g}")


def checked_instruction(text: object, where: str) -> str:
    """An instruction as a policy may see it, without spaces around it.

    Args:
        text: str, or bytes in UTF-8.

    Raises:
        DatasetError: it is no text, not UTF-8, empty, or has characters that the robot's gate would refuse.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DatasetError(f"{where}: expected UTF-8 text, got {error.reason} at byte {error.start}") from error
    if not isinstance(text, str):
        raise DatasetError(f"{where}: expected text, got {type(text).__name__}")
    text = text.strip()
    try:
        check_instruction(text, where)
    except ObservationError as error:
        raise DatasetError(str(error)) from error
    return text


def reason(error: Exception) -> str:
    """What a library says about damaged data, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def stacked(frames: list[NDArray[np.uint8]], name: str) -> NDArray[np.uint8]:
    """Frames [H, W, 3] as [n, H, W, 3].

    Raises:
        DatasetError: they are not of one size; `name` is the episode's.
    """
    shapes = sorted({frame.shape for frame in frames})
    if len(shapes) > 1:
        raise DatasetError(f"{name}: expected frames of one size, got {' and '.join(map(str, shapes))}")
    return np.stack(frames) if frames else np.empty((0, 0, 0, 3), np.uint8)
