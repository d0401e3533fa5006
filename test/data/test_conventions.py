"""Units, signs and rates of the public data sets, against numbers computed by hand."""

import numpy as np
import pytest

from vla_ros.data.conventions import BRIDGE, CALVIN, LIBERO, ActionConvention


def test_units_are_metres_radians_and_opening() -> None:
    one_unit_open = np.array([1.0, 0, 0, -1.0, 0, 0, -1.0])
    one_unit_closed = np.array([0, 0, -1.0, 0, 0, 1.0, 1.0])
    np.testing.assert_allclose(LIBERO.to_si(one_unit_open), [0.05, 0, 0, -0.5, 0, 0, 1.0])
    np.testing.assert_allclose(LIBERO.to_si(one_unit_closed), [0, 0, -0.05, 0, 0, 0.5, 0.0])
    np.testing.assert_allclose(LIBERO.from_si(LIBERO.to_si(one_unit_open)), one_unit_open, atol=1e-6)


def test_a_delta_beyond_one_unit_is_clipped_as_libero_clips_it() -> None:
    np.testing.assert_allclose(LIBERO.from_si(np.array([0.2, 0, 0, 0, 0, -2.0, 0.0])), [1, 0, 0, 0, 0, -1, 1])


def test_a_delta_beyond_one_unit_is_noticed() -> None:
    assert not LIBERO.exceeds_units(np.array([0.05, -0.05, 0.0, 0.5, 0.0, -0.5]))
    assert LIBERO.exceeds_units(np.array([0.0, 0.0, 0.051, 0.0, 0.0, 0.0]))
    assert LIBERO.exceeds_units(np.array([0.0, 0.0, 0.0, 0.0, -0.51, 0.0]))
    assert not BRIDGE.exceeds_units(np.full(6, 2.0))


def test_calvins_units_are_a_fiftieth_of_a_metre_and_a_twentieth_of_a_radian() -> None:
    np.testing.assert_allclose(CALVIN.to_si(np.array([1, 0, -0.5, 1, 0, 0.5, 1])), [0.02, 0, -0.01, 0.05, 0, 0.025, 1])
    np.testing.assert_allclose(CALVIN.to_si(np.array([0, 0, 0, 0, 0, 0, -1.0])), np.zeros(7))


def test_bridge_is_in_si_units_already() -> None:
    row = np.array([0.03, 0.0, -0.01, 3.0, 0.0, 0.1, 0.0])
    np.testing.assert_allclose(BRIDGE.to_si(row), row, rtol=1e-6)


@pytest.mark.parametrize("convention", [LIBERO, CALVIN, BRIDGE])
def test_units_and_back_is_no_change(convention: ActionConvention) -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (20, 7))
    rows[:, 6] = np.where(rows[:, 6] > 0, convention.gripper_open, convention.gripper_closed)
    np.testing.assert_allclose(convention.from_si(convention.to_si(rows)), rows, atol=1e-6)
