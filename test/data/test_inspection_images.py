import numpy as np
import pytest

from test.data.demonstrations import HEIGHT, STEPS, WIDTH, Pictures, actions, episode
from vla_ros.data.inspection_images import SAMPLED_EPISODES, STRIPS, is_black, is_frozen, sample_images
from vla_ros.errors import DatasetError

NOISE = np.random.default_rng(0).integers(50, 200, (HEIGHT, WIDTH, 3), np.uint8)


def test_strips_go_from_the_first_frame_to_the_last() -> None:
    sample, _ = sample_images([episode()], skip_bad=False, show_progress=False)
    (strip,) = sample.strips
    assert (strip.steps[0], strip.steps[-1], len(strip.steps)) == (0, STEPS - 1, 5)
    np.testing.assert_array_equal(strip.frames, Pictures()(np.array(strip.steps)))
    assert sample.sizes == {(WIDTH, HEIGHT): 1}


def test_of_many_episodes_some_are_looked_at_the_first_and_the_last_among_them() -> None:
    episodes = [episode(index) for index in range(200)]
    sample, _ = sample_images(episodes, skip_bad=False, show_progress=False)
    assert (sample.episodes, len(sample.strips)) == (SAMPLED_EPISODES, STRIPS)
    assert (sample.strips[0].name, sample.strips[-1].name) == ("data/x: demo_0", "data/x: demo_199")


def test_an_episode_of_two_steps_has_a_strip_of_two_frames() -> None:
    sample, _ = sample_images([episode(actions=actions(40)[:2])], skip_bad=False, show_progress=False)
    assert sample.strips[0].steps == (0, 1)


def test_a_damaged_frame_stops_or_is_listed() -> None:
    episodes = [episode(0), episode(1, frames=Pictures(damaged_step=0))]
    with pytest.raises(DatasetError, match="step 0: expected a frame"):
        sample_images(episodes, skip_bad=False, show_progress=False)
    sample, unreadable = sample_images(episodes, skip_bad=True, show_progress=False)
    assert (sample.episodes, len(sample.strips)) == (1, 1)
    assert unreadable == {1: "file: step 0: expected a frame, got none"}


def test_black_and_plain_frames_are_told_from_pictures() -> None:
    frames = np.stack([NOISE, NOISE * 0, NOISE * 0 + 128, NOISE // 30])
    assert is_black(frames).tolist() == [False, True, True, True]


def test_a_still_picture_is_frozen_only_where_the_arm_moves() -> None:
    still = np.stack([NOISE, NOISE, NOISE, NOISE[::-1]])
    steps = np.array([0, 10, 20, 30])
    moving = np.zeros((31, 7), np.float32)
    moving[10:, 0] = 0.01
    assert is_frozen(still, steps, moving).tolist() == [False, True, False]
    turning = np.zeros((31, 7), np.float32)
    turning[:10, 5] = 0.05
    assert is_frozen(still, steps, turning).tolist() == [True, False, False]
