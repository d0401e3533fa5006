"""Speed limits, against hand-computed vectors."""

import numpy as np
import pytest

from vla_ros.control.limits import SpeedLimits
from vla_ros.errors import ContractError

LIMITS = SpeedLimits(max_linear_speed_m_s=1.0, max_angular_speed_rad_s=2.0)
PERIOD_S = 0.1


def test_a_delta_within_the_limits_is_unchanged() -> None:
    delta = np.array([0.06, 0.08, 0.0, 0.0, 0.0, 0.2])
    assert LIMITS.clamp(delta, PERIOD_S)[0].tolist() == delta.tolist()
    assert not LIMITS.clamp(delta, PERIOD_S)[1]


def test_too_fast_a_translation_keeps_its_direction_and_the_rotation_its_value() -> None:
    delta, is_clamped = LIMITS.clamp(np.array([0.3, 0.4, 0.0, 0.0, 0.1, 0.0]), PERIOD_S)
    np.testing.assert_allclose(delta, [0.06, 0.08, 0.0, 0.0, 0.1, 0.0])
    assert is_clamped


def test_too_fast_a_rotation_is_shortened_on_its_own() -> None:
    delta, is_clamped = LIMITS.clamp(np.array([0.01, 0.0, 0.0, 0.0, 0.0, -3.0]), PERIOD_S)
    np.testing.assert_allclose(delta, [0.01, 0.0, 0.0, 0.0, 0.0, -0.2])
    assert is_clamped


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", range(6))
def test_a_number_that_is_not_finite_is_refused_not_clamped(index: int, bad: float) -> None:
    delta = np.zeros(6)
    delta[index] = bad
    with pytest.raises(ContractError, match="finite"):
        LIMITS.clamp(delta, PERIOD_S)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_limits_nothing_is_refused(value: float) -> None:
    with pytest.raises(ContractError, match="max_linear_speed_m_s"):
        SpeedLimits(max_linear_speed_m_s=value, max_angular_speed_rad_s=1.0)
