import numpy as np
import pytest

from test.data.demonstrations import STEPS, Pictures, actions, episode, inspection
from vla_ros.data.inspection import extreme_shares, summarize
from vla_ros.errors import DatasetError
from vla_ros.processing.normalization import Statistics


def test_it_counts_what_there_is() -> None:
    found = inspection(episode(0), episode(1), episode(2, instruction="close the drawer", actions=actions(60)))
    assert (found.steps, found.total, found.median_length) == (2 * STEPS + 60, 3, STEPS)
    assert found.hours == pytest.approx((2 * STEPS + 60) / 20 / 3600)
    assert found.instructions == {"pick up the soup": 2, "close the drawer": 1}
    assert found.gripper_changes == 2
    assert sum(found.lengths.counts) == 3


def test_statistics_are_those_of_all_actions() -> None:
    found = inspection(episode(0), episode(1))
    assert found.statistics == Statistics.of(np.concatenate([actions(seed=0), actions(seed=1)]))
    assert [sum(h.counts) + h.below + h.above for h in found.histograms] == [2 * STEPS] * 7


def test_names_leave_out_what_the_source_says_already() -> None:
    found = inspection()
    assert [e.name for e in found.episodes] == ["demo_0", "demo_1", "demo_2", "demo_3"]
    assert found.images.strips[0].name == "demo_0"


def test_an_episode_in_numbers() -> None:
    rows = np.zeros((6, 7), np.float32)
    rows[:, 6] = [1, 1, 0, 0, 1, 1]
    rows[1, 0], rows[5, 4] = 0.01, 0.02
    found = summarize(episode(actions=rows))
    assert (found.steps, found.open_steps, found.gripper_changes, found.begins_open) == (6, 4, 2, True)
    assert found.idle_steps == 2, "steps 0 and 3: at 1 and 5 the arm moves, at 2 and 4 the gripper"


def test_a_dimension_that_was_clipped_is_often_at_its_extreme() -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 7)).astype(np.float32)
    rows[:, 1] = rows[:, 1].clip(-1, 1)
    shares = extreme_shares(rows)
    assert len(shares) == 6
    assert shares[0] == 0.002
    assert 0.25 < shares[1] < 0.4


def test_only_some_episodes_are_read_if_so_wished_the_first_and_the_last_among_them() -> None:
    found = inspection(*(episode(index) for index in range(10)), episodes=3)
    assert ([e.name for e in found.episodes], found.total) == (["demo_0", "demo_4", "demo_9"], 10)
    assert len(inspection(episodes=99).episodes) == 4


def test_a_bad_episode_stops_or_is_listed() -> None:
    bad = DatasetError("file: demo_1.actions[3].x: expected a finite number, got nan")
    with pytest.raises(DatasetError, match=r"got nan; --skip-bad"):
        inspection(episode(0), bad)
    found = inspection(episode(0), bad, skip_bad=True)
    assert (len(found.episodes), found.left_out) == (1, (str(bad),))


def test_an_episode_with_damaged_images_counts_as_left_out_only() -> None:
    bad = episode(1, frames=Pictures(damaged_step=0), instruction="open the drawer")
    found = inspection(episode(0), bad, skip_bad=True)
    assert [summary.name for summary in found.episodes] == ["demo_0"]
    assert (found.total, len(found.left_out), found.statistics.count) == (2, 1, STEPS)
    assert "open the drawer" not in found.instructions
    with pytest.raises(DatasetError, match=r"data/x: expected at least one episode with images, .* step 0"):
        inspection(bad, skip_bad=True)
