from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vla_ros.evaluation.video import VideoWriter


def frame(red: int, size: tuple[int, int] = (32, 32)) -> NDArray[np.uint8]:
    picture = np.zeros((*size, 3), np.uint8)
    picture[..., 0] = red
    return picture


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]


def test_every_frame_comes_back_in_order_at_its_rate(tmp_path: Path) -> None:
    path = tmp_path / "episode.mp4"
    with VideoWriter(path, fps=10.0) as video:
        for red in (0, 60, 120, 180, 240):
            video.add(frame(red), ["pick up the soup"])
    reds = [float(picture[200, 200, 0]) for picture in decoded(path)]
    assert reds == pytest.approx([0, 60, 120, 180, 240], abs=6)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 10


def test_a_small_frame_is_enlarged_by_a_whole_factor_and_captioned_below(tmp_path: Path) -> None:
    path = tmp_path / "episode.mp4"
    with VideoWriter(path, fps=5.0) as video:
        video.add(frame(0, (128, 128)), ["an instruction", "step 1"])
    (picture,) = decoded(path)
    height, width = picture.shape[:2]
    assert width == 512
    assert height > 512
    assert picture[:500].max() < 30, "the caption covers the picture"
    assert picture[512:].max() > 200, "the caption is not readable"


def test_an_odd_frame_is_padded_to_what_the_codec_can(tmp_path: Path) -> None:
    path = tmp_path / "episode.mp4"
    with VideoWriter(path, fps=5.0) as video:
        video.add(frame(0, (501, 503)), [])
    assert decoded(path)[0].shape == (502, 504, 3)


def test_a_long_instruction_takes_more_rows(tmp_path: Path) -> None:
    heights = []
    for words in (3, 60):
        path = tmp_path / f"{words}.mp4"
        with VideoWriter(path, fps=5.0) as video:
            video.add(frame(0), [" ".join(["basket"] * words)])
        heights.append(decoded(path)[0].shape[0])
    assert heights[1] > heights[0]


def test_the_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "episode.mp4"
    video = VideoWriter(path, fps=5.0)
    video.add(frame(0), [])
    assert not path.exists()
    video.close()
    video.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["episode.mp4"]


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "episode.mp4", fps=5.0).close()
    assert not list(tmp_path.iterdir())


def test_a_frame_of_another_size_or_type_is_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "episode.mp4", fps=5.0) as video:
        video.add(frame(0), ["a"])
        with pytest.raises(ValueError, match=r"expected \[32, 32, 3\] with 1 lines as at first, got \[16, 16, 3\]"):
            video.add(frame(0, (16, 16)), ["a"])
        with pytest.raises(ValueError, match="expected uint8"):
            video.add(frame(0).astype(np.float32), ["a"])  # type: ignore[arg-type]
