"""A picture for people: what the policy saw, was told and wants to do, published only while somebody looks."""

import textwrap
import time
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from vla_ros.action import ActionChunk
from vla_ros.node import qos
from vla_ros.node.messages import image_from_pixels
from vla_ros.node.publish import publish
from vla_ros.observation import Observation

PERIOD_NS = 200_000_000
"""At most five pictures a second: drawing takes milliseconds that the next frame would wait for [ns]."""

PANEL_WIDTH = 380
MIN_HEIGHT = 480
MARGIN = 10
FONT = cv2.FONT_HERSHEY_SIMPLEX
COLUMNS = 46
"""Letters that fit into a line of the panel."""

WHITE, GREY, RED, GREEN, ORANGE = (240, 240, 240), (130, 130, 130), (255, 90, 90), (90, 220, 90), (255, 180, 60)
Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Left, top, width, height [px]."""


class DebugImage:
    """The publisher of `~/debug_image` (rgb8)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(Image, "~/debug_image", qos.RELIABLE)
        self._last_ns = 0

    def show(self, observation: Observation, state: str, chunk: ActionChunk | None) -> None:
        """Draw and publish, if somebody has subscribed and the last picture is old enough."""
        now_ns = time.monotonic_ns()
        if now_ns - self._last_ns < PERIOD_NS or not self._publisher.get_subscription_count():
            return
        self._last_ns = now_ns
        picture = draw(observation, state, chunk)
        publish(self._node, self._publisher, image_from_pixels(picture, observation.stamp_ns, frame_id=""))


def draw(observation: Observation, state: str, chunk: ActionChunk | None) -> Pixels:
    """The frame as the policy got it, enlarged by a whole number if it is small, and a panel to its right.

    The panel says state and instruction (cv2 has letters for ASCII only, others become `?`) and plots the path that
    the chunk asks for, from where the end effector was when the frame was taken: seen from above, x up and y to the
    left as in REP-103, then z over the chunk's rows, both in mm; below them the gripper, row by row, green where it is
    to be open. The path is the plain sum of the deltas along the axes of the chunk's frame_id. It is not projected into
    the picture: that would take a calibrated camera, and where the arm is.
    """
    factor = -(-MIN_HEIGHT // observation.image.shape[0])
    picture = observation.image.repeat(factor, axis=0).repeat(factor, axis=1)
    panel = np.zeros((len(picture), PANEL_WIDTH, 3), np.uint8)
    bottom = _write(panel, textwrap.wrap(state, COLUMNS)[:4], MARGIN, WHITE if state == "ACTIVE" else ORANGE)
    bottom = _write(panel, textwrap.wrap(observation.instruction, COLUMNS)[:4], bottom + MARGIN, WHITE)
    if chunk is not None:
        _draw_path(panel, chunk, bottom + MARGIN)
    return np.hstack([picture, panel])


def _write(panel: Pixels, lines: Iterable[str], top: int, colour: tuple[int, int, int]) -> int:
    """Lines of text from `top` down; returns where they end [px]."""
    for line in lines:
        top += 16
        text = line.encode("ascii", "replace").decode()
        cv2.putText(panel, text, (MARGIN, top), FONT, 0.42, colour, 1, cv2.LINE_AA)
    return top


def _draw_path(panel: Pixels, chunk: ActionChunk, top: int) -> None:
    path_mm = np.vstack([np.zeros(3), chunk.actions[:, :3].astype(np.float64).cumsum(axis=0)]) * 1e3
    rows = np.arange(len(path_mm), dtype=np.float64)
    height = len(panel) - top - 3 * MARGIN - 30
    width = PANEL_WIDTH - 2 * MARGIN
    above, profile = height * 3 // 5, height * 2 // 5
    side = min(above, width)
    reach = _nice(np.abs(path_mm[:, :2]).max())
    box = (MARGIN, top, side, side)
    _plot(panel, box, -path_mm[:, 1] / reach, path_mm[:, 0] / reach)
    _label(panel, box, f"{chunk.frame_id}: x up, y left, +-{reach:g} mm")
    reach = _nice(np.abs(path_mm[:, 2]).max())
    box = (MARGIN, top + above + MARGIN, width, profile)
    _plot(panel, box, rows / rows[-1] * 2 - 1, path_mm[:, 2] / reach)
    _label(panel, box, f"z over {len(rows) - 1} rows, +-{reach:g} mm")
    _draw_gripper(panel, (MARGIN, len(panel) - MARGIN - 20, width, 20), chunk.actions[:, 6])


def _plot(panel: Pixels, box: Box, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """A line through points, of which both coordinates are shown from -1 to 1, y up; a dot where it begins."""
    left, top, width, height = box
    cv2.rectangle(panel, (left, top), (left + width, top + height), GREY, 1)
    centre = (left + width // 2, top + height // 2)
    cv2.line(panel, (left, centre[1]), (left + width, centre[1]), GREY, 1)
    cv2.line(panel, (centre[0], top), (centre[0], top + height), GREY, 1)
    x, y = x.clip(-1, 1), y.clip(-1, 1)
    points = np.stack([left + (x + 1) / 2 * width, top + (1 - y) / 2 * height], axis=1).round().astype(np.int32)
    cv2.polylines(panel, [points[:, None]], isClosed=False, color=GREEN, thickness=2, lineType=cv2.LINE_AA)
    cv2.circle(panel, tuple(points[0].tolist()), 4, RED, -1, cv2.LINE_AA)


def _label(panel: Pixels, box: Box, text: str) -> None:
    place = (box[0] + 4, box[1] + 12)
    cv2.putText(panel, text.encode("ascii", "replace").decode(), place, FONT, 0.36, WHITE, 1, cv2.LINE_AA)


def _draw_gripper(panel: Pixels, box: Box, openings: NDArray[np.float32]) -> None:
    """A cell a row: green for open, red for closed."""
    left, top, width, height = box
    edges = np.linspace(left, left + width, len(openings) + 1).round().astype(int).tolist()
    for opening, start, end in zip(openings, edges, edges[1:], strict=False):
        cv2.rectangle(panel, (start, top), (end - 2, top + height), GREEN if opening > 0.5 else RED, -1)
    _label(panel, box, "gripper")


def _nice(reach: float) -> float:
    """The next of 10, 20, 50, 100 … that is not smaller: axes that do not change with every chunk [mm]."""
    steps = [base * 10**power for power in range(1, 7) for base in (1, 2, 5)]
    return float(next((step for step in steps if step >= reach), steps[-1]))
