"""JPEG and PNG files, from a data set or a camera driver, to RGB pixels: the one place where they are decoded."""

import struct
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

SIGNATURES = {"jpeg": (b"\xff\xd8\xff", b"\xff\xd9"), "png": (b"\x89PNG", b"IEND\xaeB`\x82")}
"""How a whole file begins and ends; OpenCV makes up the rest of one that is cut off."""

_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # the pixels as stored, however a camera says it was held
_NO_FRAME_HEADER = {0xC4, 0xC8, 0xCC}  # of JPEG's markers C0 to CF


def is_whole(encoded: bytes, kind: str) -> bool:
    """Whether a file begins and ends as one of this kind, `jpeg` or `png`, does."""
    start, end = SIGNATURES[kind]
    return encoded.startswith(start) and encoded.rstrip(b"\0").endswith(end)  # some writers pad


def encoded_size(encoded: bytes) -> tuple[int, int] | None:
    """Width and height [px] as the file's header names them, without decoding it; None if it has no such header."""
    if encoded.startswith(SIGNATURES["png"][0]):
        return struct.unpack(">II", encoded[16:24]) if encoded[12:16] == b"IHDR" and len(encoded) >= 24 else None
    for marker, start in _jpeg_segments(encoded):
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADER and len(encoded) >= start + 9:
            height, width = struct.unpack(">HH", encoded[start + 5 : start + 9])
            return width, height
    return None


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Marker and start of every segment before the picture itself."""
    start = 2
    while start + 4 <= len(encoded) and encoded[start] == 0xFF:
        marker, length = struct.unpack(">xBH", encoded[start : start + 4])
        if marker == 0xFF:  # any number of them may fill up the space before a marker
            start += 1
            continue
        yield marker, start
        start += 2 + length


def decode(encoded: bytes) -> NDArray[np.uint8] | None:
    """RGB, uint8 [height, width, 3], of a whole JPEG or PNG file; None if it is none, or a damaged one.

    A flipped bit in a PNG is always noticed, one inside of a JPEG only sometimes: that format has no checksum.
    """
    if not any(is_whole(encoded, kind) for kind in SIGNATURES):
        return None
    try:
        decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), _FLAGS)
    except cv2.error:  # a forged size
        return None
    return None if decoded is None else np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
