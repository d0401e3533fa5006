"""Real frames of the training data: some to calibrate on, others to report on."""

import numpy as np
from numpy.typing import NDArray

from vla_ros.data.scan import scan
from vla_ros.data.windows import Windows
from vla_ros.observation import Observation
from vla_ros.train.config import TrainConfig


def read_frames(settings: TrainConfig, calibration: int, report: int) -> tuple[list[Observation], list[Observation]]:
    """Frames for calibration and for the report, each spread evenly over the data; none is both.

    Of a data set that has fewer, both get their share, and it is said.
    """
    # what is bad was refused by training, or left out
    found = scan(settings.data.source.open(), skip_bad=True, show_progress=False)
    windows = Windows(found.episodes, settings.chunk_size)
    wanted = calibration + report
    if len(windows) < wanted:
        report = max(1, len(windows) * report // wanted)
        calibration = len(windows) - report
        print(f"the data have {len(windows)} frames, not {wanted}: {calibration} to calibrate, {report} to report on")
    every = np.arange(len(windows))
    reported = _spread(every, report)
    return _take(windows, _spread(np.setdiff1d(every, reported), calibration)), _take(windows, reported)


def _spread(numbers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return numbers[np.unique(np.linspace(0, len(numbers) - 1, count).round().astype(np.int64))]


def _take(windows: Windows, chosen: NDArray[np.int64]) -> list[Observation]:
    samples = windows.take(chosen)
    return [
        Observation(image=image, instruction=windows.instructions[number], stamp_ns=0)
        for image, number in zip(samples.images, samples.instructions, strict=True)
    ]
