"""The other end of policy_node's topics: the test plays camera, operator and gate."""

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from test.node.fleet import Probe
from vla_ros.node import qos
from vla_ros.node.messages import image_from_pixels, stamp_from_ns

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


class Camera:
    """Shows images, gives instructions and keeps what policy_node says."""

    def __init__(self, probe: Probe, image_topic: str = "image", kind: type = Image) -> None:
        self.probe = probe
        self.chunks: list[JointTrajectory] = probe.listen("policy_node/action_chunk", JointTrajectory)
        self.states: Callable[[], list[str]] = probe.states("policy_node/state")
        self.echoes: Callable[[], list[str]] = probe.states("policy_node/instruction")
        self.diagnostics: list[DiagnosticArray] = probe.listen("/diagnostics", DiagnosticArray)
        self._images = probe.node.create_publisher(kind, image_topic, qos.IMAGE)
        self._instructions = probe.node.create_publisher(String, "instruction", qos.LATCHED)
        self._transitions = probe.node.create_client(ChangeState, "policy_node/change_state")

    def connect(self) -> None:
        """Wait until the node is active and everything has found everything."""
        self.probe.until(lambda: "ACTIVE" in self.states(), "activation")
        self.probe.until(self.echoes, "the first echo")
        self.probe.until(lambda: self._images.get_subscription_count() == 1, "discovery")
        self.probe.until(lambda: self.probe.node.count_publishers("policy_node/action_chunk") == 1, "discovery")

    def instruct(self, text: str) -> None:
        """Give an instruction and wait for its echo."""
        count = len(self.echoes())
        self.say(text)
        self.probe.until(lambda: len(self.echoes()) > count, "the echo of the instruction")

    def say(self, text: str) -> None:
        """Give an instruction."""
        self._instructions.publish(String(data=text))

    def say_bytes(self, data: bytes) -> None:
        """Give an instruction as another language's publisher could: these bytes, as CDR carries a string."""
        self._instructions.publish(b"\0\1\0\0" + (len(data) + 1).to_bytes(4, "little") + data + b"\0")

    def show(self, stamp_ns: int, pixels: np.ndarray = PIXELS, **changes: object) -> None:
        """Show a raw image."""
        image = image_from_pixels(pixels, stamp_ns, "fake")
        for name, value in changes.items():
            setattr(image, name, value)
        self.publish(image)

    def show_now(self, pixels: np.ndarray = PIXELS, **changes: object) -> int:
        """Show a raw image that was captured now; returns its stamp [ns]."""
        stamp_ns = time.time_ns()
        self.show(stamp_ns, pixels, **changes)
        return stamp_ns

    def show_png(self, stamp_ns: int, pixels: np.ndarray = PIXELS) -> None:
        """Show a compressed image."""
        data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
        message = CompressedImage(format="rgb8; png compressed bgr8", data=data)
        message.header.stamp = stamp_from_ns(stamp_ns)
        self.publish(message)

    def publish(self, message: Any) -> None:
        """Show a message as it is."""
        self._images.publish(message)

    def stamps_ns(self) -> list[int]:
        """Of the chunks so far."""
        return [message.header.stamp.sec * 10**9 + message.header.stamp.nanosec for message in self.chunks]

    def wait_for_state(self, start: str) -> str:
        """Wait until some state began like this; returns the first that did."""
        self.probe.until(lambda: any(state.startswith(start) for state in self.states()), start)
        return next(state for state in self.states() if state.startswith(start))

    def wait_for_diagnostics(self, **expected: str) -> dict[str, str]:
        """Wait until policy_node's newest status has these values; returns all of them."""
        self.probe.until(lambda: expected.items() <= self._values().items(), str(expected))
        return self._values()

    def _values(self) -> dict[str, str]:
        for message in reversed(self.diagnostics):
            for status in message.status:
                if status.name == "policy_node":
                    return {item.key: item.value for item in status.values}
        return {}

    def change_state(self, transition: int) -> bool:
        """Ask for a transition of the node's life cycle, a constant of lifecycle_msgs/Transition; False: refused."""
        self.probe.until(self._transitions.service_is_ready, "change_state")
        future = self._transitions.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self.probe.until(future.done, "the transition")
        result = future.result()
        assert result is not None
        return bool(result.success)
