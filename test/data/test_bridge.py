"""Bridge's actions relabelled, on arrays worked out by hand."""

import numpy as np
import pytest

from vla_ros.data.bridge import decided_gripper, relabelled_actions
from vla_ros.errors import DatasetError


def states(steps: int = 5) -> np.ndarray:
    result = np.zeros((steps, 7))
    result[:, 0] = [0.0, 0.1, 0.3, 0.6, 1.0][:steps]
    return result


def test_an_action_is_the_way_to_the_next_state() -> None:
    actions = np.full((5, 7), 9.0)
    actions[:, 6] = 1.0
    result = relabelled_actions(actions, states(), "x")
    np.testing.assert_allclose(result[:, 0], [0.2, 0.3, 0.4], rtol=1e-6)
    np.testing.assert_array_equal(result[:, 1:6], np.zeros((3, 5)))


@pytest.mark.parametrize(("before", "after", "moved"), [(3.1, -3.1, 0.08319), (-3.1, 3.1, -0.08319), (0.5, 0.2, -0.3)])
def test_an_angle_goes_the_short_way_round(before: float, after: float, moved: float) -> None:
    angles = states()
    angles[2, 4], angles[3:, 4], angles[1, 4] = before, after, before
    np.testing.assert_allclose(relabelled_actions(np.ones((5, 7)), angles, "x")[1, 4], moved, atol=1e-4)


@pytest.mark.parametrize(
    ("values", "decided"),
    [
        ([1.0, 0.8, 0.4, 0.0], [1, 0, 0, 0]),
        ([0.0, 0.2, 0.96, 0.5, 0.04], [0, 1, 1, 0, 0]),
        ([0.95, 1.0], [1, 1]),
        ([0.0, 0.3, 0.6], [0, 1, 1]),  # ends undecided: the nearer side
        ([-0.01, 0.5, 0.4], [0, 0, 0]),
    ],
)
def test_a_gripper_on_its_way_is_where_it_will_be(values: list[float], decided: list[int]) -> None:
    np.testing.assert_array_equal(decided_gripper(np.array(values)), decided)


def test_numbers_that_are_not_finite_and_episodes_too_short_are_refused() -> None:
    bad = states()
    bad[4, 5] = np.inf
    with pytest.raises(DatasetError, match=r"x.observation.state\[4\].rz: expected a finite number, got inf"):
        relabelled_actions(np.ones((5, 7)), bad, "x")
    with pytest.raises(DatasetError, match="x: expected at least 4 steps, got 3"):
        relabelled_actions(np.ones((3, 7)), states(3), "x")
