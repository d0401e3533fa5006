"""What the inference benchmark is to reach, and whether it did."""

from collections.abc import Callable
from dataclasses import dataclass

from vla_ros.bench.inference import InferenceBenchmark, RowResult
from vla_ros.bench.inference_rows import COMPILE_ROW, EAGER_ROW, Row
from vla_ros.bundle import GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One figure.

    Attributes:
        what: in words.
        name: in the JSON.
        limit: to be reached.
        is_most: the limit is the most that is allowed, else the least.
        unit: of both; `1` for ratios.
        value: as measured; None where the run has no rows for it.
        row: whose figure it is.
    """

    what: str
    name: str
    limit: float
    is_most: bool
    unit: str
    value: float | None
    row: str | None

    @property
    def is_reached(self) -> bool | None:
        """None where it was not measured."""
        if self.value is None:
            return None
        return self.value <= self.limit if self.is_most else self.value >= self.limit


EAGER_SPEED_UP, COMPILE_SPEED_UP, ROOFLINE_FRACTION = 8.0, 2.2, 0.60
RESIDENT_GB, HALF_ERROR, HALF_TIME = 2.0, 0.012, 1.6


def targets(measured: InferenceBenchmark) -> list[Target]:
    """All figures, those of machines with matrix units (AMX); the policy is the one at hand."""
    bundles = [result for result in measured.rows if not result.row.is_torch]
    fastest = min(bundles, key=lambda result: result.median_s)
    integers = [result for result in bundles if result.row.precision == "int8"]
    integer = min(integers, key=lambda result: result.median_s) if integers else None
    halves = [result for result in bundles if result.row.precision in ("bf16", "fp16")]
    half = min(halves, key=lambda result: result.median_s) if halves else None
    lean = min(bundles, key=lambda result: result.memory.resident)
    return [
        _speed_up(measured, fastest, EAGER_ROW, EAGER_SPEED_UP),
        _speed_up(measured, fastest, COMPILE_ROW, COMPILE_SPEED_UP),
        Target(
            what="share of the int8 roofline",
            name="int8_roofline_fraction",
            limit=ROOFLINE_FRACTION,
            is_most=False,
            unit="1",
            value=_of(integer, measured.roofline_fraction),
            row=_name(integer),
        ),
        Target(
            what="resident memory of the leanest row",
            name="lean_resident_gb",
            limit=RESIDENT_GB,
            is_most=True,
            unit="GB",
            value=lean.memory.resident * GIB / 1e9,
            row=_name(lean),
        ),
        Target(
            what="largest error in 16 bits",
            name="half_max_action_error",
            limit=HALF_ERROR,
            is_most=True,
            unit="model units",
            value=_of(half, lambda result: result.max_action_error),
            row=_name(half),
        ),
        Target(
            what="time in 16 bits, in int8's",
            name="half_over_int8",
            limit=HALF_TIME,
            is_most=True,
            unit="1",
            value=None if half is None or integer is None else 1 / measured.speed_up(half, integer),
            row=_name(half),
        ),
    ]


def _speed_up(measured: InferenceBenchmark, fastest: RowResult, base: Row, limit: float) -> Target:
    slow = measured.of(base)
    return Target(
        what=f"times as fast as {base.name}",
        name=f"speed_up_over_{base.engine}_{base.precision}",
        limit=limit,
        is_most=False,
        unit="1",
        value=None if slow is None else measured.speed_up(fastest, slow),
        row=_name(fastest),
    )


def _of(result: RowResult | None, figure: Callable[[RowResult], float | None]) -> float | None:
    return None if result is None else figure(result)


def _name(result: RowResult | None) -> str | None:
    return None if result is None else result.row.name
