"""A histogram whose few far values do not squeeze all others into one bar."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MARGIN = 0.25
"""How far beyond the inner quantiles the bars go, as a share of the distance between these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts in bars of one width.

    Attributes:
        low, high: ends of the bars.
        counts: of each bar.
        below, above: values beyond the bars.
    """

    low: float
    high: float
    counts: tuple[int, ...]
    below: int
    above: int


def histogram(
    values: NDArray[np.float32], inner_low: float = -np.inf, inner_high: float = np.inf, bins: int = 60
) -> Histogram:
    """Of values [n]; bars reach a little beyond the inner range, but not beyond the values."""
    margin = MARGIN * (inner_high - inner_low)
    low = max(float(values.min()), inner_low - margin)
    high = min(float(values.max()), inner_high + margin)
    if not low < high:  # a constant is drawn as one bar in the middle
        low, high = low - 0.5, low + 0.5
    counts, _ = np.histogram(values, bins, (low, high))
    return Histogram(
        low=low,
        high=high,
        counts=tuple(counts.tolist()),
        below=int((values < low).sum()),
        above=int((values > high).sum()),
    )
