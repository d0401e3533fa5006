"""Episodes as MP4 files that a browser plays."""

import math
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from numpy.typing import NDArray

MIN_SIDE_PX = 480
"""Smaller frames are enlarged by a whole factor, so that the captions below them are readable."""

ROW_PX = 24
MARGIN_PX = 8
FONT_SCALE = 0.5
FONT = cv2.FONT_HERSHEY_SIMPLEX
TEXT_COLORS = ((255, 255, 255), (196, 208, 224))
BACKGROUND = (24, 27, 33)


class VideoWriter:
    """Writes H.264 (yuv420p) with caption lines below the picture, which stays uncovered.

    The file appears under its name when it is complete; until then it is `<name>.part`. Use it as a context manager
    or call `close`.
    """

    def __init__(self, path: Path, fps: float) -> None:
        """Prepare `path`; `fps` are frames per second of playback [Hz].

        Raises:
            ValueError: fps is not positive.
        """
        if not fps > 0:
            raise ValueError(f"fps: expected > 0, got {fps}")
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._rate = Fraction(fps).limit_denominator(1000)
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._frame_shape: tuple[int, ...] = ()
        self._rows: list[int] = []

    def add(self, frame: NDArray[np.uint8], lines: list[str]) -> None:
        """Append one frame: uint8 [height, width, 3], RGB, with its caption lines.

        The first frame fixes the frame size, the number of lines and how many rows each line may take; what does not
        fit later is cut.

        Raises:
            ValueError: the frame is of another type, shape or size, or the number of lines changed.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"frame: expected uint8 [height, width, 3], got {frame.dtype} {list(frame.shape)}")
        if self._container is None:
            self._frame_shape = frame.shape
            self._rows = [len(_wrap(line, _width(frame))) for line in lines]
        if frame.shape != self._frame_shape or len(lines) != len(self._rows):
            raise ValueError(
                f"frame: expected {list(self._frame_shape)} with {len(self._rows)} lines as at first, "
                f"got {list(frame.shape)} with {len(lines)}"
            )
        picture = np.ascontiguousarray(np.vstack([_enlarge(frame), self._caption(lines, _width(frame))]))
        self._encode(av.VideoFrame.from_ndarray(_even(picture), format="rgb24"))

    def close(self) -> None:
        """Finish the file; without a single frame there is none. A second call does nothing."""
        if self._container is None or self._stream is None:
            return
        container, stream = self._container, self._stream
        self._container = None
        try:
            container.mux(stream.encode())
        finally:
            container.close()
        self._part.replace(self._path)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _encode(self, frame: av.VideoFrame) -> None:
        if self._container is None or self._stream is None:
            # faststart: the index comes first, so a browser starts and seeks at once
            container = av.open(str(self._part), "w", format="mp4", options={"movflags": "faststart"})
            stream = container.add_stream("libx264", rate=self._rate)
            stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            stream.options = {"preset": "veryfast", "crf": "20", "g": str(max(1, round(self._rate)))}
            # the policy and the simulator need the cores more than the encoder does
            stream.codec_context.thread_count = 1
            self._container, self._stream = container, stream
        self._container.mux(self._stream.encode(frame))

    def _caption(self, lines: list[str], width: int) -> NDArray[np.uint8]:
        band = np.full((sum(self._rows) * ROW_PX + MARGIN_PX, width, 3), BACKGROUND, dtype=np.uint8)
        if not lines:
            return band[:0]
        y = 0
        for index, (line, rows) in enumerate(zip(lines, self._rows, strict=True)):
            shown = _wrap(line, width)
            for row in range(rows):
                y += ROW_PX
                if row < len(shown):
                    color = TEXT_COLORS[min(index, 1)]
                    cv2.putText(band, shown[row], (MARGIN_PX, y - 4), FONT, FONT_SCALE, color, 1, cv2.LINE_AA)
        return band


def _factor(frame: NDArray[np.uint8]) -> int:
    return math.ceil(MIN_SIDE_PX / int(min(frame.shape[:2])))


def _width(frame: NDArray[np.uint8]) -> int:
    return int(frame.shape[1]) * _factor(frame)


def _enlarge(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = _factor(frame)
    if factor == 1:
        return frame
    size = (frame.shape[1] * factor, frame.shape[0] * factor)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Yuv420p halves the colour resolution, so both sides must be even."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _wrap(text: str, width: int) -> list[str]:
    """Break a line between words where it would leave the picture; at least one row."""
    rows = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and _text_width(longer) > width - 2 * MARGIN_PX:
            rows.append(word)
        else:
            rows[-1] = longer
    return rows


def _text_width(text: str) -> int:
    size, _ = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    return int(size[0])
