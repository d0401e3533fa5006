"""Camera messages of every kind that is read, and random damage to them."""

import random

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from vla_ros.node.messages import stamp_from_ns

SIZE_PX = 32
BYTES_PER_PIXEL = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    **{f"bayer_{pattern}8": 1 for pattern in ("rggb", "bggr", "gbrg", "grbg")},
    **dict.fromkeys(("yuv422", "uyvy", "yuv422_yuy2", "yuyv"), 2),
}
FILES = {"png": ".png", "jpeg": ".jpg", "rgb8; jpeg compressed bgr8": ".jpg", "mono8; png compressed ": ".png"}

_SIZES = [0, 1, SIZE_PX - 1, SIZE_PX + 1, 2 * SIZE_PX, 480, 640, 2**31, 2**32 - 1]
_WORDS = [
    "",
    "rgb",
    "RGB8",
    "rgb16",
    "16UC1",
    "8UC3",
    "mono16",
    "nv12",
    "jpeg",
    "h264",
    "png\n",
    "\ufffd",
    "x" * 5000,
    "\t",
]
_FORMATS = ["16UC1; compressedDepth png", "bayer_rggb8; jpeg compressed ", "rgb8; png compressed rgb8", "; jpeg"]

Message = Image | CompressedImage


def make_message(random_: random.Random, pixels: np.random.Generator) -> Message:
    """A message that is admitted as it is."""
    if random_.random() < 0.3:
        kind, end = random_.choice(list(FILES.items()))
        picture = pixels.integers(0, 256, (SIZE_PX, SIZE_PX, 3), np.uint8)
        return CompressedImage(format=kind, data=cv2.imencode(end, picture)[1].tobytes())
    encoding = random_.choice(list(BYTES_PER_PIXEL))
    step = SIZE_PX * BYTES_PER_PIXEL[encoding] + random_.choice([0, 0, 16])
    data = pixels.integers(0, 256, SIZE_PX * step, np.uint8).tobytes()
    return Image(encoding=encoding, width=SIZE_PX, height=SIZE_PX, step=step, data=data)


def damage(message: Message, random_: random.Random) -> None:
    """Change one thing, as a broken driver, a wrong camera or an intruder would."""
    kind = random_.randrange(8)
    if kind < 4:
        _damage_data(message, random_)
    elif isinstance(message, CompressedImage):
        message.format = random_.choice([*_FORMATS, *_WORDS, *FILES])
    elif kind == 4:
        message.encoding = random_.choice([*_WORDS, *BYTES_PER_PIXEL])
    else:
        field = ("width", "height", "step")[kind - 5]
        setattr(message, field, random_.choice(_SIZES))


def _damage_data(message: Message, random_: random.Random) -> None:
    data = bytearray(message.data)
    place = random_.randrange(len(data)) if data else 0
    kind = random_.randrange(6)
    if kind == 0:
        del data[place:]
    elif kind == 1:
        data += bytes(random_.randrange(1, 100))
    elif kind == 2:
        data = bytearray(len(data))
    elif kind == 3:
        data = bytearray(random_.randbytes(len(data)))
    elif kind == 4 and data:
        data[place] ^= 1 << random_.randrange(8)
    else:
        data[place : place + 24] = random_.randbytes(24)
    message.data = bytes(data)


def damaged_stamp_ns(now_ns: int, random_: random.Random) -> int:
    """A capture time that is wrong in some way, or at the limit of what is right [ns]."""
    hour_ns = 3_600_000_000_000
    seconds = random_.choice([0, -(2**31), 2**31 - 1])
    offset_ns = random_.choice([0, 1, -1, 50_000_000, 50_000_001, -200_000_000, -200_000_001, hour_ns, -hour_ns])
    return random_.choice([seconds * 10**9, now_ns + offset_ns])


def stamp(message: Message, stamp_ns: int) -> None:
    """Set the capture time [ns]."""
    message.header.stamp = stamp_from_ns(stamp_ns)
