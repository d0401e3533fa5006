"""Speed limits: the last thing that happens to a delta before it leaves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.errors import ContractError


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedLimits:
    """How fast the end effector may be commanded.

    Attributes:
        max_linear_speed_m_s: of the translation vector's norm [m/s].
        max_angular_speed_rad_s: of the rotation vector's norm [rad/s].
    """

    max_linear_speed_m_s: float
    max_angular_speed_rad_s: float

    def __post_init__(self) -> None:
        for name in ("max_linear_speed_m_s", "max_angular_speed_rad_s"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ContractError(f"{name}: expected a positive number, got {value}")

    def clamp(self, delta: NDArray[np.float64], period_s: float) -> tuple[NDArray[np.float64], bool]:
        """Shorten a delta to what the limits allow within one period; its direction is kept.

        Args:
            delta: float64 [6], metres and radians of one period.
            period_s: the period [s].

        Returns:
            The delta to command, and whether it was shortened.

        Raises:
            ContractError: a number is not finite; `min` and `max` would turn a NaN into full speed.
        """
        if not np.isfinite(delta).all():
            raise ContractError(f"delta: expected finite numbers, got {delta.tolist()}")
        linear = _scale(delta[:3], self.max_linear_speed_m_s * period_s)
        angular = _scale(delta[3:], self.max_angular_speed_rad_s * period_s)
        if linear == angular == 1.0:
            return delta, False
        return np.concatenate([delta[:3] * linear, delta[3:] * angular]), True


def _scale(vector: NDArray[np.float64], limit: float) -> float:
    norm = float(np.linalg.norm(vector))
    return 1.0 if norm <= limit else limit / norm
