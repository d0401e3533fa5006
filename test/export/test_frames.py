"""Which frames a policy is calibrated on, and which it is judged by."""

import pytest

pytest.importorskip("torch")

from vla_ros.export.frames import read_frames
from vla_ros.train.config import TrainConfig


def keys(frames: list) -> set[bytes]:  # type: ignore[type-arg]
    return {frame.image.tobytes() for frame in frames}


def test_no_frame_of_the_report_was_calibrated_on(tiny_config: TrainConfig) -> None:
    calibration, report = read_frames(tiny_config, calibration=10, report=20)
    assert len(keys(calibration)) == 10
    assert len(keys(report)) == 20
    assert not keys(calibration) & keys(report)


def test_of_few_frames_both_get_their_share_and_it_is_said(
    tiny_config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration, report = read_frames(tiny_config, calibration=100, report=100)
    assert len(calibration) == len(report) == 18
    assert not keys(calibration) & keys(report)
    assert "the data have 36 frames, not 200: 18 to calibrate, 18 to report on" in capsys.readouterr().out
