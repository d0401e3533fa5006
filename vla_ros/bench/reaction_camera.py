"""A camera driver: images of noise at 30 Hz, stamped and published best effort; a program."""

import argparse
import random
import sys
import threading
import time
from array import array

import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image

from vla_ros.bench.reaction import CAMERA_RATE_HZ
from vla_ros.node import qos
from vla_ros.node.messages import stamp_from_ns
from vla_ros.node.process import ignore_signals, init, stop_on_signals
from vla_ros.node.scheduling import schedule
from vla_ros.node.trace import Trace

JITTER_S = 0.002
"""Images come up to so much earlier or later: 33.3 ms alone would meet the same three phases of a tick of 10 ms."""
PICTURES = 8
"""Different images that are made before the first is shown, and come in turns."""
POLL_S = 0.05


def make_pictures(width: int, height: int, seed: int) -> list[Image]:
    """Messages but for their stamps; `rgb8` noise."""
    noise = random.Random(seed)  # noqa: S311 (pixels)
    pictures = []
    for _ in range(PICTURES):
        picture = Image(width=width, height=height, encoding="rgb8", step=width * 3)
        picture.header.frame_id = "camera"
        picture.data = array("B", noise.randbytes(width * height * 3))
        pictures.append(picture)
    return pictures


def show(node: Node, pictures: list[Image], trace: Trace, seed: int, stop: threading.Event) -> None:
    """Publish from the moment on that somebody listens, until the process is to end."""
    publisher = node.create_publisher(Image, "image", qos.IMAGE)
    while not publisher.get_subscription_count() and not stop.wait(POLL_S):
        pass
    jitter = random.Random(seed)  # noqa: S311 (times)
    start, count = time.monotonic(), 0
    while not stop.wait(
        max(0.0, start + count / CAMERA_RATE_HZ + jitter.uniform(-JITTER_S, JITTER_S) - time.monotonic())
    ):
        picture = pictures[count % PICTURES]
        stamp_ns = time.time_ns()
        picture.header.stamp = stamp_from_ns(stamp_ns)
        publisher.publish(picture)
        trace.mark(stamp_ns, "shown")
        count += 1


def main() -> int:
    """Run until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("width", "height", "seed", "priority"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--trace", required=True)
    args = parser.parse_args()
    stop = stop_on_signals()
    trace = Trace(args.trace)
    pictures = make_pictures(args.width, args.height, args.seed)
    init([])
    node = Node("camera")
    try:
        schedule(frozenset(), args.priority, 0)
        show(node, pictures, trace, args.seed, stop)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        trace.write()
        ignore_signals()
    return 0


if __name__ == "__main__":
    sys.exit(main())
