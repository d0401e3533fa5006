"""Image messages, raw or compressed, to RGB pixels; no ROS needed."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.data.encoded_image import SIGNATURES, decode

CHANNELS = {"rgb8": 3, "bgr8": 3, "mono8": 1}

Refuse = Callable[[str, object, object], Exception]
"""Makes an error of a field, what was expected and what was found."""


def check_image(message: Any, refuse: Refuse) -> None:
    """Raises what `refuse` makes if a sensor_msgs Image or CompressedImage cannot hold the pixels that it names."""
    if hasattr(message, "format"):
        kind = _compression(message, refuse)
        start, end = SIGNATURES[kind]
        if not (message.data.startswith(start) and message.data.rstrip(b"\0").endswith(end)):
            raise refuse("data", f"a whole {kind.upper()} file", f"{len(message.data)} bytes of something else")
        return
    channels = CHANNELS.get(message.encoding)
    if channels is None:
        raise refuse("encoding", " or ".join(CHANNELS), repr(message.encoding))
    for field in ("height", "width"):
        if getattr(message, field) < 1:
            raise refuse(field, ">= 1", getattr(message, field))
    if message.step < message.width * channels:
        raise refuse("step", f">= {message.width * channels}", message.step)
    if len(message.data) != message.step * message.height:
        raise refuse("len(data)", message.step * message.height, len(message.data))


def pixels_of(message: Any, refuse: Refuse) -> NDArray[np.uint8]:
    """RGB, uint8 [height, width, 3], of a message that `check_image` let pass.

    Raises what `refuse` makes if a compressed image is damaged.
    """
    if hasattr(message, "format"):
        decoded = decode(bytes(message.data))
        if decoded is None:
            raise refuse("data", f"a whole {_compression(message, refuse).upper()} file", "a damaged one")
        return decoded
    channels = CHANNELS[message.encoding]
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    pixels = rows[:, : message.width * channels].reshape(message.height, message.width, channels)
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[..., ::-1]) if message.encoding == "bgr8" else pixels


def _compression(message: Any, refuse: Refuse) -> str:
    """`jpeg` or `png`, from formats like `jpeg` and `rgb8; jpeg compressed bgr8`."""
    for kind in SIGNATURES:
        if kind in message.format or (kind == "jpeg" and message.format == "jpg"):
            return kind
    raise refuse("format", " or ".join(SIGNATURES), repr(message.format))
