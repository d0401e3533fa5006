"""Displacements one after the other: translations add, rotation vectors turn."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_ros.control.displacement import NONE, compose, remaining

VECTORS = st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6).map(np.array)


def test_a_quarter_turn_about_z_then_one_about_x_of_the_same_frame() -> None:
    quarter = np.pi / 2
    turned = compose(np.array([1, 0, 0, 0, 0, quarter]), np.array([0, 2, 0, quarter, 0, 0]), "axis_angle")
    np.testing.assert_allclose(turned[:3], [1, 2, 0])
    # x goes to y, then to z
    np.testing.assert_allclose(Rotation.from_rotvec(turned[3:]).apply([1, 0, 0]), [0, 0, 1], atol=1e-12)


def test_a_quarter_turn_about_x_then_one_about_z_of_the_same_frame() -> None:
    quarter = np.pi / 2
    turned = compose(np.array([0, 0, 0, quarter, 0, 0]), np.array([0, 0, 0, 0, 0, quarter]), "axis_angle")
    # y goes to z, and stays there
    np.testing.assert_allclose(Rotation.from_rotvec(turned[3:]).apply([0, 1, 0]), [0, 0, 1], atol=1e-12)


def test_euler_angles_are_added() -> None:
    total = compose(np.full(6, 0.25), np.full(6, 0.5), "euler_xyz")
    assert total.tolist() == [0.75] * 6


@settings(deadline=None)
@given(VECTORS)
def test_with_nothing_it_stays_to_the_last_bit(delta: np.ndarray) -> None:
    assert (compose(NONE, delta, "axis_angle") == delta).all()
    assert (compose(delta, NONE, "axis_angle") == delta).all()


@settings(deadline=None)
@given(VECTORS, VECTORS)
def test_what_remains_completes_what_was_done(wanted: np.ndarray, done: np.ndarray) -> None:
    for rotation in ("axis_angle", "euler_xyz"):
        total = compose(done, remaining(wanted, done, rotation), rotation)
        np.testing.assert_allclose(total[:3], wanted[:3], atol=1e-9)
        if rotation == "euler_xyz":
            np.testing.assert_allclose(total[3:], wanted[3:], atol=1e-9)
        else:
            left = Rotation.from_rotvec(total[3:]) * Rotation.from_rotvec(wanted[3:]).inv()
            assert left.magnitude() < 1e-7
