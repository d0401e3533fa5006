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
RESIDENT_GB, PRECISE_ERROR, PRECISE_TIME = 2.0, 0.012, 1.6


def targets(measured: InferenceBenchmark) -> list[Target]:
    """All figures, those of machines with matrix units (AMX); the policy is the one at hand."""
    bundles = [result for result in measured.rows if not result.row.is_torch]
    fastest = min(bundles, key=lambda result: result.median_s)
    integers = [result for result in bundles if result.row.precision == "int8"]
    integer = min(integers, key=lambda result: result.median_s) if integers else None
    precise = [r for r in bundles if r.max_action_error is not None and r.max_action_error <= PRECISE_ERROR]
    floats = min(precise, key=lambda result: result.median_s) if precise else None
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
            what=f"time of the fastest row with an error of at most {PRECISE_ERROR:g}, in int8's",
            name="precise_over_int8",
            limit=PRECISE_TIME,
            is_most=True,
            unit="1",
            value=None if floats is None or integer is None else 1 / measured.speed_up(floats, integer),
            row=_name(floats),
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
