"""Samples: one frame and the chunk that follows it."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from vla_ros.data.episode import Episode
from vla_ros.data.windows import Windows
from vla_ros.errors import DatasetError


@dataclass
class Frames:
    """Images that are filled with their step's number; keeps which were asked for."""

    first: int
    side_px: int = 4
    read: list[int] = field(default_factory=list)

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.read += steps.tolist()
        numbers = (self.first + steps).astype(np.uint8)
        return np.broadcast_to(numbers[:, None, None, None], (len(steps), self.side_px, self.side_px, 3))


def make_episode(
    steps: int, instruction: str, first: int, side_px: int = 4, image_steps: list[int] | None = None
) -> Episode:
    numbers = np.arange(first, first + steps, dtype=np.float32)
    return Episode(
        name=f"demo.hdf5: demo_{first}",
        instruction=instruction,
        actions=np.repeat(numbers, 7).reshape(steps, 7),
        frames=Frames(first, side_px),
        phases=tuple("close" if step % 2 else "lift" for step in range(steps)),
        image_steps=None if image_steps is None else np.array(image_steps),
    )


@pytest.fixture
def windows() -> Windows:
    return Windows([make_episode(3, "b", 10), make_episode(4, "a", 20)], chunk_size=3)


def test_a_chunk_starts_at_its_own_frame_and_stops_at_its_episodes_end(windows: Windows) -> None:
    samples = windows.take(np.array([0, 2, 5]))
    assert samples.images[:, 0, 0, 0].tolist() == [10, 12, 22]
    assert samples.actions[..., 0].tolist() == [[10, 11, 12], [12, 12, 12], [22, 23, 23]]
    assert samples.valid.tolist() == [[True, True, True], [True, False, False], [True, True, False]]


def test_what_counts_and_what_is_to_be_done_are_known_without_an_image(windows: Windows) -> None:
    frames = np.array([5, 0, 2])
    valid, chunks = windows.valid(frames), windows.chunks(frames)
    assert [episode.frames.read for episode in windows.episodes] == [[], []]  # type: ignore[attr-defined]
    samples = windows.take(frames)
    np.testing.assert_array_equal(valid, samples.valid)
    np.testing.assert_array_equal(chunks, samples.actions)
    assert [episode.frames.read for episode in windows.episodes] == [[0, 2], [2]]  # type: ignore[attr-defined]


def test_only_steps_with_an_image_are_frames_but_every_step_is_in_their_chunks() -> None:
    windows = Windows([make_episode(5, "a", 10, image_steps=[0, 3]), make_episode(3, "a", 20)], chunk_size=3)
    assert len(windows) == 5
    samples = windows.take(np.arange(3))
    assert samples.images[:, 0, 0, 0].tolist() == [10, 13, 20]
    assert samples.actions[..., 0].tolist() == [[10, 11, 12], [13, 14, 14], [20, 21, 22]]
    assert samples.valid.tolist() == [[True, True, True], [True, True, False], [True, True, True]]
    np.testing.assert_allclose(windows.sampling_weights({"close": 3.0}), np.array([1, 3, 1, 3, 1]) / 9)


def asked(episode: Episode, **others: float) -> Episode:
    """The episode, with the target at 1 m, goal and effector at 0, and other objects elsewhere."""

    def at(x: float) -> NDArray[np.float32]:
        return np.full((len(episode), 3), x, np.float32) + np.arange(len(episode), dtype=np.float32)[:, None] / 100

    return dataclasses.replace(
        episode,
        target_position=at(1),
        goal_position=at(0),
        effector_position=at(0),
        other_positions={name: at(x) for name, x in others.items()},
    )


def test_a_question_shows_the_same_image_for_another_object_of_which_only_the_position_counts() -> None:
    episodes = [asked(make_episode(4, "a", 10, image_steps=[0, 3]), b=2, c=3), asked(make_episode(2, "b", 20), a=5)]
    windows = Windows(episodes, chunk_size=2, has_questions=True)
    assert (len(windows), windows.questions, windows.instructions) == (4, 6, ["a", "b", "c"])
    samples = windows.take(np.arange(10))
    assert samples.images[:, 0, 0, 0].tolist() == [10, 13, 20, 21, 10, 13, 10, 13, 20, 21]
    assert "".join(windows.instructions[i] for i in samples.instructions) == "aabb" + "bbccaa"
    assert samples.scene[:, 0].tolist() == pytest.approx([1, 1.03, 1, 1.01, 2, 2.03, 3, 3.03, 5, 5.01])
    assert samples.scene[:, 6].tolist() == pytest.approx([0, 0.03, 0, 0.01, 0, 0.03, 0, 0.03, 0, 0.01])
    assert samples.valid.any(axis=1).tolist() == [True] * 4 + [False] * 6
    weights = windows.sampling_weights({"close": 3.0}, question_share=0.4)
    np.testing.assert_allclose(weights, [*0.6 * np.array([1, 3, 1, 3]) / 8, *[0.4 / 6] * 6])


def test_without_being_wanted_or_without_other_objects_there_are_no_questions(windows: Windows) -> None:
    silent = Windows([asked(make_episode(4, "a", 10), b=2)], chunk_size=2)
    assert (silent.questions, silent.instructions) == (0, ["a"])
    with pytest.raises(DatasetError, match=r"data.question_share: expected 0 for demonstrations that do not say"):
        windows.sampling_weights({}, question_share=0.1)


def test_images_of_different_sizes_are_refused_with_their_episode() -> None:
    windows = Windows([make_episode(3, "a", 0), make_episode(3, "a", 50, side_px=8)], chunk_size=2)
    with pytest.raises(
        DatasetError, match=r"demo_50: step 1: expected an image \[4, 4, 3\] as in the others, got \[8, 8"
    ):
        windows.take(np.array([0, 4]))


def test_a_misspelt_phase_is_refused(windows: Windows) -> None:
    with pytest.raises(DatasetError, match=r"data.phase_weights: expected one of close, lift, got 'clse'"):
        windows.sampling_weights({"clse": 2.0})


def test_each_frame_keeps_its_instruction(windows: Windows) -> None:
    samples = windows.take(np.array([0, 3]))
    assert [windows.instructions[i] for i in samples.instructions] == ["b", "a"]


def test_phases_are_drawn_by_weight(windows: Windows) -> None:
    weights = windows.sampling_weights({"close": 3.0})
    np.testing.assert_allclose(weights, np.array([1, 3, 1, 1, 3, 1, 3]) / 13)


def test_no_episode_is_an_error() -> None:
    with pytest.raises(DatasetError, match="expected at least one episode"):
        Windows([], chunk_size=3)
