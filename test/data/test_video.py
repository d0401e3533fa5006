"""Real videos in the codecs and frame orders that data sets come in; each frame's colour tells its number."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vla_ros.data.video import VideoFrames
from vla_ros.errors import DatasetError

FRAMES, FPS, SIZE = 60, 10, 64
TOLERANCE = 8
"""Of lossy compression; two frames are 4 apart in red, 4 in green."""
BT_709, LIMITED, FULL = 1, 1, 2


def colour(step: int) -> tuple[int, int, int]:
    return 4 * step, 255 - 4 * step, 40 + step


def write(path: Path, codec: str = "libx264", matrix: int | None = None, full: int = LIMITED, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, FPS, options=options)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        if matrix is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix, full
        for step in range(FRAMES):
            pixels = np.full((SIZE, SIZE, 3), colour(step), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if matrix is not None:
                frame = frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=full)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def reader(path: Path, start_s: float = 0.0, steps: int = FRAMES) -> VideoFrames:
    return VideoFrames(path, start_s + np.arange(steps) / FPS, 1 / FPS)


def step_of(frames: NDArray[np.uint8]) -> list[int]:
    """Which frames these are, by the mean of what red and green tell."""
    middle = frames[:, SIZE // 2, SIZE // 2].astype(int)
    return [round(value) for value in (middle[:, 0] + 255 - middle[:, 1]) / 8]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write(tmp_path / "video.mp4", g="12", bf="3")


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libsvtav1", {"g": "2", "crf": "30"}),  # what LeRobot writes
        ("libx264", {"g": "2"}),
        ("libx264", {}),  # one key frame, frames stored in another order than shown
        ("libx264", {"x264-params": "keyint=10:open-gop=1:bframes=3"}),  # frames before a key frame need the one before
    ],
)
def test_every_frame_is_the_right_one_in_any_order(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    frames = reader(write(tmp_path / "video.mp4", codec, **options))
    random = np.random.default_rng(0)
    for _ in range(60):
        steps = random.integers(0, FRAMES, random.integers(1, 4))
        assert step_of(frames(steps)) == steps.tolist()


def test_several_steps_come_in_the_order_in_which_they_were_asked_for(video: Path) -> None:
    assert step_of(reader(video)(np.array([30, 2, 2, 59, 0]))) == [30, 2, 2, 59, 0]


def test_an_episode_may_begin_anywhere_in_a_video(video: Path) -> None:
    assert step_of(reader(video, start_s=2.1, steps=9)(np.array([0, 8]))) == [21, 29]


@pytest.mark.parametrize(("matrix", "full"), [(None, LIMITED), (BT_709, LIMITED), (BT_709, FULL)])
def test_colours_are_those_that_were_filmed(tmp_path: Path, matrix: int | None, full: int) -> None:
    steps = np.array([0, 17, 59])
    frames = reader(write(tmp_path / "video.mp4", matrix=matrix, full=full))(steps)
    expected = np.array([colour(step) for step in steps])
    assert np.abs(frames[:, SIZE // 2, SIZE // 2] - expected).max() <= TOLERANCE


def test_a_reader_can_be_sent_to_another_process_and_used_by_many_threads(video: Path) -> None:
    frames = pickle.loads(pickle.dumps(reader(video)))
    steps = [np.array([step]) for step in range(FRAMES)]
    with ThreadPoolExecutor(4) as pool:
        assert [step_of(found)[0] for found in pool.map(frames, steps)] == list(range(FRAMES))


def test_a_video_that_ends_early_is_noticed_before_it_is_decoded(video: Path) -> None:
    reader(video).check_length()
    with pytest.raises(DatasetError, match=r"video.mp4: step 60: expected a frame at 6.000 s, got a video of 6.000 s"):
        reader(video, steps=61).check_length()


def test_a_frame_that_is_not_there_is_named(video: Path) -> None:
    frames = reader(video, steps=70)
    with pytest.raises(DatasetError, match=r"video.mp4: step 65: expected a frame at 6.500 s, got none"):
        frames(np.array([3, 65]))
    assert step_of(frames(np.array([3]))) == [3], "the reader goes on"


def test_a_time_between_two_frames_is_nobodys(video: Path) -> None:
    frames = VideoFrames(video, np.array([0.25]), 0.04)
    with pytest.raises(DatasetError, match=r"step 0: expected a frame at 0.250 s, got none"):
        frames(np.array([0]))


@pytest.mark.parametrize("kept", [0, 500])
def test_a_truncated_video_is_refused(video: Path, kept: int) -> None:
    video.write_bytes(video.read_bytes()[:kept])
    with pytest.raises(DatasetError, match=r"video.mp4: expected a whole video, got"):
        reader(video).check_length()


def test_a_missing_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere.mp4: expected a whole video, got: .*No such file"):
        reader(tmp_path / "nowhere.mp4")(np.array([0]))
