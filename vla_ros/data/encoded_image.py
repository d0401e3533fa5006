"""Encoded images as data sets hold them, to RGB pixels: the one place where a JPEG or PNG is decoded."""

import cv2
import numpy as np
from numpy.typing import NDArray

SIGNATURES = {"jpeg": (b"\xff\xd8\xff", b"\xff\xd9"), "png": (b"\x89PNG", b"IEND\xaeB`\x82")}
"""How a whole file begins and ends; OpenCV makes up the rest of one that is cut off."""


def decode(encoded: bytes) -> NDArray[np.uint8] | None:
    """RGB, uint8 [height, width, 3], of a whole JPEG or PNG file; None if it is none, or a damaged one."""
    stripped = encoded.rstrip(b"\0")  # some writers pad
    if not any(stripped.startswith(start) and stripped.endswith(end) for start, end in SIGNATURES.values()):
        return None
    try:
        decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # a forged size
        return None
    return None if decoded is None else np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
