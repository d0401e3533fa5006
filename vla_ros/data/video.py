"""Single frames out of video files, found by their time stamps: exact ones, decoded from the key frame before."""

import functools
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vla_ros.data.checks import reason
from vla_ros.errors import DatasetError

OPEN_FILES = 16
"""Videos that a thread keeps open: opening one takes about as long as decoding a frame."""

READ_ON_FRAMES = 12
"""A frame at most so far ahead is reached by decoding on, a further one by seeking."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrames:
    """Reads single frames of one episode; whichever process uses it opens the video itself.

    Attributes:
        file: the video.
        times_s: float64 [T], when each step is shown in the video [s].
        period_s: time between two steps [s]; a frame belongs to a step if it is off by less than half of it.
    """

    file: Path
    times_s: NDArray[np.float64]
    period_s: float

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames uint8 [len(steps), H, W, 3], RGB; see `FrameReader`."""
        video = _shared(self.file)
        wanted, places = np.unique(steps, return_inverse=True)
        found = []
        for step in wanted:
            pixels = video.frame(float(self.times_s[step]), self.period_s)
            if pixels is None:
                raise DatasetError(
                    f"{self.file}: step {step}: expected a frame at {self.times_s[step]:.3f} s, "
                    f"got none (the video is {video.duration_s:.3f} s long)"
                )
            found.append(pixels)
        return np.stack(found)[places]

    def check_length(self) -> None:
        """Refuse a video that is missing, damaged at its head, or ends before the episode does.

        Raises:
            DatasetError: names the step after which it ends.
        """
        duration_s = _shared(self.file).duration_s
        is_missing = ~(self.times_s <= duration_s - self.period_s / 2)
        if is_missing.any():
            step = int(np.flatnonzero(is_missing)[0])
            raise DatasetError(
                f"{self.file}: step {step}: expected a frame at {self.times_s[step]:.3f} s, "
                f"got a video of {duration_s:.3f} s"
            )


class _Video:
    """An open video and how far it was decoded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._container: InputContainer = av.open(str(path))
            self._stream = self._container.streams.video[0]
            # worker processes decode side by side, so that threads here would only wait for each other
            self._stream.codec_context.thread_count = 1
        except Exception as error:  # PyAV raises whatever damaged names and codecs lead to
            raise DatasetError(f"{path}: expected a whole video, got: {reason(error)}") from error
        self._decoded: Iterator[VideoFrame] = iter(())
        self._last: VideoFrame | None = None
        if self._stream.time_base is None or self._stream.duration is None:
            raise DatasetError(f"{path}: expected a video that says how long it is, got none")
        self._time_base = float(self._stream.time_base)
        self.duration_s = self._stream.duration * self._time_base

    def frame(self, time_s: float, period_s: float) -> NDArray[np.uint8] | None:
        """The frame shown at this time, less than half a period off; None if there is none."""
        earliest_s = time_s - period_s / 2
        try:
            if self._last is not None and 0 < earliest_s - _time(self._last) < READ_ON_FRAMES * period_s:
                self._decode_to(earliest_s)
            elif self._last is None or not 0 <= _time(self._last) - earliest_s < period_s:
                self._seek_to(earliest_s)
            found = self._last
            if found is None or not 0 <= _time(found) - earliest_s < period_s:
                return None
            # matrix and range are those that the video names; where it names none, BT.601, which encoders then take
            return np.asarray(found.to_ndarray(format="rgb24"), np.uint8)
        except Exception as error:  # as above
            self._last = None
            raise DatasetError(f"{self._path}: expected a frame at {time_s:.3f} s, got: {reason(error)}") from error

    def _seek_to(self, earliest_s: float) -> None:
        """Go to the first frame that is not before this time."""
        # the index is in the order of decoding, so that a seek may land behind the frame: then from further back
        for back_s in (0.0, 1.0, 10.0, math.inf):
            start_s = max(earliest_s - back_s, 0.0)
            self._container.seek(int(start_s / self._time_base), stream=self._stream)
            self._decoded = self._container.decode(self._stream)
            self._last = next(self._decoded, None)
            if start_s == 0.0 or (self._last is not None and _time(self._last) <= earliest_s):
                break
        self._decode_to(earliest_s)

    def _decode_to(self, earliest_s: float) -> None:
        while self._last is not None and _time(self._last) < earliest_s:
            self._last = next(self._decoded, None)


def _time(frame: VideoFrame) -> float:
    """When it is shown [s]; a frame without a time stamp never is."""
    return math.inf if frame.time is None else frame.time


def _shared(path: Path) -> _Video:
    return _opened(path, os.getpid(), threading.get_ident())


@functools.lru_cache(maxsize=OPEN_FILES)
def _opened(path: Path, process_id: int, thread_id: int) -> _Video:
    """Of one process and thread, as a decoder can be shared by neither."""
    return _Video(path)
