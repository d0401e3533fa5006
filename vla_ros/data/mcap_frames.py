"""Camera frames of a recorded demonstration, read from its file when they are needed."""

import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from mcap.reader import McapReader, make_reader
from mcap_ros2.decoder import DecoderFactory
from numpy.typing import NDArray

from vla_ros.data.mcap_files import damaged
from vla_ros.data.mcap_messages import Place, stamp_of
from vla_ros.errors import DatasetError
from vla_ros.processing.image_message import pixels_of

OPEN_FILES = 32


@dataclass(frozen=True, slots=True, eq=False)
class McapFrames:
    """A `FrameReader`: each frame is one message, found by the file's own index.

    Attributes:
        places: of the image at every step.
        stamps_ns: its header's time, by which it is told from others recorded at the same moment, int64 [T] [ns].
    """

    places: tuple[Place, ...]
    stamps_ns: NDArray[np.int64]

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
        """See `FrameReader`."""
        frames: list[NDArray[np.uint8]] = []
        for step in steps:
            place = self.places[step]
            frames.append(_frame(place, int(self.stamps_ns[step])))
            if frames[-1].shape != frames[0].shape:
                height, width, _ = frames[0].shape
                raise place.error("size", f"{width} x {height} px as at other steps", frames[-1].shape[1::-1])
        return np.stack(frames)


def _frame(place: Place, stamp_ns: int) -> NDArray[np.uint8]:
    start_ns = place.log_time_ns
    try:
        reader = _reader(place.file, os.getpid(), threading.get_ident())
        recorded = reader.iter_decoded_messages([place.topic], starting_at=start_ns, ending_before=start_ns + 1)
        messages = [message for _, _, _, message in recorded]
    except Exception as error:  # the library raises whatever its parsers do
        raise damaged(place.file, error) from error
    for message in messages:
        if stamp_of(message, place) == stamp_ns:
            return pixels_of(message, place.error)
    raise DatasetError(f"{place}: expected the image that was there, got nothing; the file has changed")


@lru_cache(maxsize=OPEN_FILES)
def _reader(file: Path, process: int, thread: int) -> McapReader:
    """Kept open, with its index; each thread has its own, for a file has one position."""
    return make_reader(file.open("rb"), validate_crcs=True, decoder_factories=[DecoderFactory()])
