"""Each check is triggered by a data set with that fault, and by that only."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from test.data.demonstrations import HEIGHT, WIDTH, Pictures, actions, episode, inspection
from vla_ros.data.episode import Episode
from vla_ros.data.inspection_warnings import CHECKS, find_all
from vla_ros.errors import DatasetError

NOISE = np.random.default_rng(0).integers(50, 200, (HEIGHT, WIDTH, 3), np.uint8)


def changed(
    column: int | slice, values: NDArray[np.float32] | float, steps: slice = slice(None)
) -> NDArray[np.float32]:
    rows = actions(200)
    rows[steps, column] = values
    return rows


def with_actions(rows: NDArray[np.float32]) -> list[Episode]:
    return [episode(0, actions=rows)]


FAULTS: dict[str, tuple[list[Episode], str]] = {
    "gripper_range": (with_actions(changed(6, actions(200)[:, 6] * 0.8 + 0.2)), "between 0.20 and 1.00"),
    "gripper_never_changes": (with_actions(changed(6, 1.0)), "never opens or closes"),
    "gripper_polarity": (
        with_actions(changed(6, 1 - actions(200)[:, 6])),
        "1 of the 1 episodes .* begin with it closed",
    ),
    "constant_dimensions": (with_actions(changed(4, 0.0)), "^ry never changes"),
    "clipped_dimensions": (with_actions(changed(2, actions(200)[:, 2].clip(-0.01, 0.01))), r"z \([23]\d\.\d % of the"),
    "far_values": (
        with_actions(changed(5, 6.28, slice(7, 8))),
        "rz reaches 6.28 rad, while 98 % of it stay within 0.0",
    ),
    "black_frames": (
        [episode(0, frames=Pictures(NOISE // 40))],
        "9 of 9 frames looked at are black .*: demo_0: step 0;",
    ),
    "frozen_frames": ([episode(0, frames=Pictures(NOISE))], "stands still while the arm moves: demo_0: steps 0 and 5;"),
    "image_sizes": (
        [episode(0), episode(1, frames=lambda steps: Pictures()(steps)[:, ::2])],
        "32 x 24 px in 1 and 32 x 12 px in 1",
    ),
    "idle_steps": (with_actions(changed(slice(0, 6), 0.0, slice(0, 60))), "nothing moves in 30 % of the steps"),
    "short_episodes": (
        [*(episode(i) for i in range(5)), episode(9, actions=actions()[10:19])],
        r"1 episode has fewer than 10 steps: demo_9 \(9\)",
    ),
    "spelling": (
        [episode(0), episode(1, instruction="Pick up  the soup."), episode(2, instruction="pick up the can")],
        "'Pick up  the soup.' and 'pick up the soup'",
    ),
}


def test_a_good_data_set_gives_no_warning() -> None:
    assert find_all(inspection()) == []


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found_and_nothing_else(kind: str) -> None:
    episodes, message = FAULTS[kind]
    (finding,) = find_all(inspection(*episodes))
    assert finding.kind == kind
    assert re.search(message, finding.text), finding.text


def test_episodes_that_were_left_out_are_the_first_warning() -> None:
    found = inspection(episode(0), DatasetError("a: bad"), DatasetError("b: bad"), skip_bad=True)
    (finding,) = find_all(found)
    assert (finding.kind, finding.text[:16]) == ("left_out", "2 of 3 episodes ")


def test_every_check_is_tested() -> None:
    assert set(CHECKS) == {*FAULTS, "left_out"}


def test_a_gripper_that_some_episodes_do_not_use_is_no_fault() -> None:
    unused = [actions(seed=index) for index in (1, 2)]
    for rows in unused:
        rows[:, 6] = 0.0
    assert find_all(inspection(episode(0), *(episode(i, actions=rows) for i, rows in enumerate(unused, 1)))) == []


def test_libero_read_with_open_x_embodiments_gripper_is_noticed() -> None:
    """Numbers 1 (open) and 0 (closed), read as if -1 were open and 1 closed, are openings 0 and 0.5."""
    misread = changed(6, (1 - actions(200)[:, 6]) / 2)
    kinds = [finding.kind for finding in find_all(inspection(episode(0, actions=misread)))]
    assert "gripper_range" in kinds
