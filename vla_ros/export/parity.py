"""How far an exported policy is from the trained one on real frames, in what a robot feels: mm, degrees, gripper flips.

Everything is measured against torch in fp32, per dimension of the action, and the worst case decides.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.bundle import Precision
from vla_ros.config import check_numbers
from vla_ros.errors import EngineError

Unit = Literal["mm", "deg"]
ARM_UNITS: tuple[Unit, ...] = ("mm",) * 3 + ("deg",) * 3
ARM_SCALE = np.array((1e3,) * 3 + (180 / np.pi,) * 3)
"""From m and rad to ARM_UNITS."""

KEEP_LAYERS = "keep the layers that hurt at higher precision: `keep:` in the export config; `--sensitivity` finds them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What the worst value of any frame may be off by.

    Attributes:
        position_mm: along each of x, y and z, in one step [mm].
        rotation_deg: about each of rx, ry and rz, in one step [deg].
        gripper_flips: share of the gripper values that may differ, 0 to 1.
    """

    position_mm: float
    rotation_deg: float
    gripper_flips: float

    def __post_init__(self) -> None:
        check_numbers(self, "position_mm", "rotation_deg", above=0)
        check_numbers(self, "gripper_flips", least=0)
        if self.gripper_flips > 1:
            raise ValueError(f"gripper_flips: expected a share, 0 to 1, got {self.gripper_flips}")

    def limit(self, unit: Unit) -> float:
        """Of a dimension that is measured in `unit`."""
        return self.position_mm if unit == "mm" else self.rotation_deg


_SIXTEEN_BITS = Tolerance(position_mm=1.0, rotation_deg=0.5, gripper_flips=0.01)
_EIGHT_BITS = Tolerance(position_mm=3.0, rotation_deg=2.0, gripper_flips=0.02)

TOLERANCES = {
    "fp32": Tolerance(position_mm=0.1, rotation_deg=0.0573, gripper_flips=0.001),
    "fp16": _SIXTEEN_BITS,
    "bf16": _SIXTEEN_BITS,
    "int8": _EIGHT_BITS,
    "fp8": _EIGHT_BITS,
    "int4": Tolerance(position_mm=10.0, rotation_deg=5.0, gripper_flips=0.05),
}
"""By precision.

A policy's step is 10 to 20 mm and some degrees, and the next chunk sees where the arm really is: an error well below a
step is corrected, one as large as a step is another action. So 16 bits may cost a twentieth to a tenth of a step at
worst, 8 bits less than a third, and 4 bits, which are for machines that nothing else fits, one whole step once in all
frames. fp32 differs by the order of its sums alone (1e-4 m, 1e-3 rad); a gripper logit that rounding carries across
zero flips, and a thousandth allows for it where more than a thousand values are compared.
"""


def tolerance_of_random_weights(precision: Precision) -> Tolerance:
    """Ten times a trained policy's, and any gripper: random weights amplify rounding and put logits around zero."""
    trained = TOLERANCES[precision]
    return Tolerance(position_mm=10 * trained.position_mm, rotation_deg=10 * trained.rotation_deg, gripper_flips=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionError:
    """Absolute errors of one dimension of the arm over all frames and steps.

    Attributes:
        unit: of the three errors.
        mean, p99, worst: the average, the one that 99 % stay below, the largest.
        worst_frame: where the largest is.
    """

    unit: Unit
    mean: float
    p99: float
    worst: float
    worst_frame: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """An engine's answers beside torch's in fp32; `dataclasses.asdict` of it stands in the manifest.

    Attributes:
        engine: that was compared.
        frames: that were compared.
        errors: by dimension of the arm, x to rz.
        gripper_flips: how many gripper values differ.
        gripper_values: of how many.
        cosine_mean, cosine_least: over the frames, of the angle between both chunks in model units, gripper logits
            included.
        worst_frame: whose arm is the farthest off, as a share of each dimension's range.
    """

    engine: str
    frames: int
    errors: dict[str, DimensionError]
    gripper_flips: int
    gripper_values: int
    cosine_mean: float
    cosine_least: float
    worst_frame: int

    @classmethod
    def measure(
        cls,
        reference_outputs: NDArray[np.float32],
        outputs: NDArray[np.float32],
        reference_actions: NDArray[np.float32],
        actions: NDArray[np.float32],
        engine: str,
    ) -> "Parity":
        """Compare chunks [frames, chunk_size, 7], frame by frame of the same observations.

        Args:
            reference_outputs, outputs: torch's and the engine's, model units.
            reference_actions, actions: the same in SI units.

        Raises:
            EngineError: a number is not finite, or the engine's chunks have another shape.
        """
        _check_same_shape(reference_outputs, outputs, engine)
        for who, values in (("torch", reference_outputs), (engine, outputs), (engine, actions)):
            _check_finite(who, values)
        errors = arm_errors(reference_actions, actions)
        flips = reference_actions[..., ARM_DIM] != actions[..., ARM_DIM]
        cosines = _cosines(reference_outputs, outputs)
        shares = np.abs(_arm_in_range(outputs) - _arm_in_range(reference_outputs))
        return cls(
            engine=engine,
            frames=len(outputs),
            errors={name: _describe(errors[..., i], ARM_UNITS[i]) for i, name in enumerate(ACTION_NAMES[:ARM_DIM])},
            gripper_flips=int(flips.sum()),
            gripper_values=flips.size,
            cosine_mean=float(cosines.mean()),
            cosine_least=float(cosines.min()),
            worst_frame=int(shares.max(axis=(1, 2)).argmax()),
        )

    @property
    def gripper_share(self) -> float:
        """Of the gripper values, how many differ, 0 to 1."""
        return self.gripper_flips / self.gripper_values

    def worst(self, unit: Unit) -> float:
        """The largest error of the dimensions in that unit."""
        return max(error.worst for error in self.errors.values() if error.unit == unit)


def arm_errors(reference: NDArray[np.float32], actions: NDArray[np.float32]) -> NDArray[np.float64]:
    """Absolute differences [..., 6] in ARM_UNITS, of actions [..., 7] in SI units."""
    arm = np.asarray(actions[..., :ARM_DIM], np.float64) - reference[..., :ARM_DIM]
    return np.abs(arm) * ARM_SCALE


def check(parity: Parity, tolerance: Tolerance, source: str, mend: str = KEEP_LAYERS) -> None:
    """Refuse an export that is too far from torch.

    Args:
        source: what is refused, e.g. `policy.onnx`.
        mend: what to do about it.

    Raises:
        EngineError: names every dimension beyond its tolerance, with both values.
    """
    problems = [
        f"{name}: expected torch's answer within {shown(limit)} {error.unit}, "
        f"got {shown(error.worst)} {error.unit} at frame {error.worst_frame}"
        for name, error in parity.errors.items()
        if not error.worst <= (limit := tolerance.limit(error.unit))
    ]
    if not parity.gripper_share <= tolerance.gripper_flips:
        problems.append(
            f"gripper: expected at most {shown(tolerance.gripper_flips * 100)} % of the values to differ from torch's, "
            f"got {shown(parity.gripper_share * 100)} % ({parity.gripper_flips} of {parity.gripper_values})"
        )
    if problems:
        raise EngineError("; ".join([f"{source}: {problems[0]}", *problems[1:], *([mend] if mend else [])]))


def table(parity: Parity) -> str:
    """Aligned plain text: a line a dimension, then the gripper and the cosines."""
    rows = [
        (name, shown(error.mean), shown(error.p99), shown(error.worst), error.unit, str(error.worst_frame))
        for name, error in parity.errors.items()
    ]
    lines = [("error", "mean", "p99", "worst", "unit", "at frame"), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines]
    return "\n".join(
        [
            *texts,
            f"gripper: {parity.gripper_flips} of {parity.gripper_values} values differ",
            f"cosine: {parity.cosine_mean:.6f} in the mean, {parity.cosine_least:.6f} at least",
            f"{parity.engine} against torch fp32 on {parity.frames} frames",
        ]
    )


def shown(value: float) -> str:
    """Three digits, never with an exponent; what is less than a thousandth is as good as nothing in mm or degrees."""
    if 0 < value < 1e-3:
        return "<0.001"
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


def _check_same_shape(reference: NDArray[np.float32], outputs: NDArray[np.float32], engine: str) -> None:
    assert reference.size, "no frames"
    assert reference.shape[2:] == (len(ACTION_NAMES),), reference.shape
    if outputs.shape != reference.shape:
        raise EngineError(f"policy.onnx on {engine}: expected {list(reference.shape)}, got {list(outputs.shape)}")


def _check_finite(who: str, values: NDArray[np.float32]) -> None:
    """NaN compares as neither large nor small, so that it would pass for no error."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        frame, step, dimension = bad[0]
        raise EngineError(
            f"policy.onnx: {ACTION_NAMES[dimension]}: expected a finite number from {who} at frame {frame}, "
            f"step {step}, got {values[frame, step, dimension]}"
        )


def _describe(errors: NDArray[np.float64], unit: Unit) -> DimensionError:
    """Of errors [frames, chunk_size]."""
    return DimensionError(
        unit=unit,
        mean=float(errors.mean()),
        p99=float(np.quantile(errors, 0.99)),
        worst=float(errors.max()),
        worst_frame=int(errors.max(axis=1).argmax()),
    )


def _arm_in_range(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """What of the outputs reaches the robot: beyond [-1, 1] they are clipped."""
    return np.clip(np.asarray(outputs[..., :ARM_DIM], np.float64), -1.0, 1.0)


def _cosines(reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """One a frame; where both chunks are all zero they agree, where one is they do not."""
    a, b = (np.asarray(values, np.float64).reshape(len(values), -1) for values in (reference, outputs))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    equal = (a == b).all(axis=1).astype(np.float64)
    # rounding may give a little more than 1
    return np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0), equal).clip(-1.0, 1.0)
