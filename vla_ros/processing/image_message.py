"""Image messages, raw or compressed, to RGB pixels: recordings and the robot's camera are read by this code alone.

A message is anything with the fields of sensor_msgs/Image (`encoding`, `width`, `height`, `step`, `data`) or of
sensor_msgs/CompressedImage (`format`, `data`): rclpy's classes and those that an MCAP reader makes; no ROS needed.
"""

import re
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.processing.encoded_image import SIGNATURES, decode, encoded_size, is_whole


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the pixels of a raw image lie in memory, 8 bits a value.

    Attributes:
        channels: bytes per pixel.
        to_rgb: OpenCV's conversion, or None where nothing is to be converted.
        is_paired: whether two neighbours share their colour, so that the width must be even.
    """

    channels: int
    to_rgb: int | None
    is_paired: bool = False


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row's first and second: what
# is RGGB here is BG there
ENCODINGS = {
    "rgb8": Encoding(3, None),
    "bgr8": Encoding(3, cv2.COLOR_BGR2RGB),
    "rgba8": Encoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": Encoding(4, cv2.COLOR_BGRA2RGB),
    "mono8": Encoding(1, cv2.COLOR_GRAY2RGB),
    "bayer_rggb8": Encoding(1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": Encoding(1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": Encoding(1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": Encoding(1, cv2.COLOR_BayerGB2RGB),
    "yuv422": Encoding(2, cv2.COLOR_YUV2RGB_UYVY, is_paired=True),
    "uyvy": Encoding(2, cv2.COLOR_YUV2RGB_UYVY, is_paired=True),
    "yuv422_yuy2": Encoding(2, cv2.COLOR_YUV2RGB_YUY2, is_paired=True),
    "yuyv": Encoding(2, cv2.COLOR_YUV2RGB_YUY2, is_paired=True),
}
"""The encodings that are read, by their names in sensor_msgs/image_encodings."""

# `jpeg`, or what compressed_image_transport writes: `rgb8; jpeg compressed bgr8`, `mono8; png compressed `. It squeezes
# Bayer patterns as if they were grey, and depth or 16 bits with another target: what comes out is no picture.
_FORMAT = re.compile(
    r"(?:(?:rgba?8|bgra?8|yuv422|uyvy|yuv422_yuy2|yuyv); ?(?P<colour>jpeg|png) compressed bgr8"
    r"|mono8; ?(?P<grey>jpeg|png) compressed ?|(?P<plain>jpeg|jpg|png))"
)

Refuse = Callable[[str, object, object], Exception]
"""Makes an error of a field, what was expected and what was found."""


def image_size(message: Any, refuse: Refuse) -> tuple[int, int]:
    """Width and height [px] that a message claims; nothing is decoded.

    Raises what `refuse` makes if the encoding or format is not one that is read, or the claim is none.
    """
    if hasattr(message, "format"):
        kind = _compression(message, refuse)
        encoded = bytes(message.data)
        size = encoded_size(encoded)
        if size is None or not is_whole(encoded, kind):
            raise refuse("data", f"a whole {kind.upper()} file", f"{len(encoded)} bytes of something else")
        return size
    if message.encoding not in ENCODINGS:
        raise refuse("encoding", " or ".join(ENCODINGS), reprlib.repr(message.encoding))
    return message.width, message.height


def check_image(message: Any, refuse: Refuse) -> None:
    """Raises what `refuse` makes if a message cannot hold the pixels that it names."""
    width, height = image_size(message, refuse)
    for field, pixels in (("width", width), ("height", height)):
        if pixels < 1:
            raise refuse(field, ">= 1", pixels)
    if hasattr(message, "format"):
        return
    encoding = ENCODINGS[message.encoding]
    if encoding.is_paired and width % 2:
        raise refuse("width", f"an even number for {message.encoding}", width)
    if message.step < width * encoding.channels:
        raise refuse("step", f">= {width * encoding.channels}", message.step)
    size = memoryview(message.data).nbytes
    if size != message.step * height:
        raise refuse("len(data)", message.step * height, size)


def pixels_of(message: Any, refuse: Refuse) -> NDArray[np.uint8]:
    """RGB, uint8 [height, width, 3], of a message that `check_image` let pass.

    It shares the message's memory where nothing is to be converted. Alpha is dropped; what lies behind the rows is too.

    Raises what `refuse` makes if a compressed image is damaged.
    """
    if hasattr(message, "format"):
        return _decompressed(message, refuse)
    encoding = ENCODINGS[message.encoding]
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    pixels = rows[:, : message.width * encoding.channels]
    if encoding.channels > 1:
        pixels = pixels.reshape(message.height, message.width, encoding.channels)
    if encoding.to_rgb is None:
        return np.ascontiguousarray(pixels)
    return np.asarray(cv2.cvtColor(pixels, encoding.to_rgb), np.uint8)


def _decompressed(message: Any, refuse: Refuse) -> NDArray[np.uint8]:
    kind = _compression(message, refuse).upper()
    decoded = decode(bytes(message.data))
    if decoded is None or decoded.shape[1::-1] != image_size(message, refuse):
        raise refuse("data", f"a whole {kind} file", "a damaged one")
    return decoded


def _compression(message: Any, refuse: Refuse) -> str:
    """`jpeg` or `png`, of a format that holds an 8-bit picture."""
    match = _FORMAT.fullmatch(message.format)
    if match is None:
        names = f"{' or '.join(SIGNATURES)}, alone or of 8-bit colour as compressed_image_transport writes them"
        raise refuse("format", names, reprlib.repr(message.format))
    kind = next(group for group in match.groups() if group)
    return "jpeg" if kind == "jpg" else kind
