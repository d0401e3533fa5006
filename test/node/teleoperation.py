"""An operator who demonstrates, and `vla-ros record` as a process beside."""

import os
import signal
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from test.node.fleet import LIMIT_S, ROOT, Probe
from vla_ros.node import qos
from vla_ros.node.environment import ros_environment
from vla_ros.node.messages import image_from_pixels, stamp_from_ns

PERIOD_NS = 50_000_000
TOPICS = ("/image", "/instruction", "/delta_twist_cmds", "/gripper_command", "/ee_pose")
PROGRAM = """
import argparse, sys
from vla_ros.commands import record
from vla_ros.errors import VlaRosError
parser = argparse.ArgumentParser()
record.add_arguments(parser)
try:
    sys.exit(record.run(parser.parse_args()))
except VlaRosError as error:
    sys.exit(f"vla-ros record: {error}")
"""


class Operator:
    """Publishes as `command_gate`, a camera and a robot do, stamped to the nanosecond."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        create = probe.node.create_publisher
        self.publishers: dict[str, Any] = {
            "/image": create(Image, "image", qos.IMAGE),
            "/instruction": create(String, "instruction", qos.LATCHED),
            "/delta_twist_cmds": create(TwistStamped, "delta_twist_cmds", qos.RELIABLE),
            "/gripper_command": create(JointState, "gripper_command", qos.RELIABLE),
            "/ee_pose": create(PoseStamped, "ee_pose", qos.RELIABLE),
        }

    def wait_for_recorder(self, *without: str) -> None:
        """Until every topic has a listener."""
        needed = [publisher for topic, publisher in self.publishers.items() if topic not in without]
        self.probe.until(lambda: all(p.get_subscription_count() for p in needed), "the recorder's subscriptions")

    def tell(self, text: str) -> None:
        self.publishers["/instruction"].publish(String(data=text))

    def demonstrate(self, steps: int, pause_s: float = 0.01, start_ns: int | None = None) -> None:
        """Steps of one control period by their stamps, from now on, published faster than that."""
        start_ns = time.time_ns() if start_ns is None else start_ns
        for step in range(steps):
            stamp_ns = start_ns + step * PERIOD_NS
            self.publishers["/image"].publish(image_from_pixels(pixels(step), stamp_ns, "camera"))
            self.publishers["/delta_twist_cmds"].publish(twist(step, stamp_ns))
            self.publishers["/gripper_command"].publish(gripper(step, stamp_ns))
            self.publishers["/ee_pose"].publish(pose(step, stamp_ns))
            time.sleep(pause_s)


def pixels(step: int) -> np.ndarray:
    """A frame of which every pixel tells the step; red, green and blue differ."""
    return np.full((24, 32, 3), (step, 100, 200), np.uint8)


def twist(step: int, stamp_ns: int) -> TwistStamped:
    message = TwistStamped()
    message.header.stamp, message.header.frame_id = stamp_from_ns(stamp_ns), "base"
    message.twist.linear.x, message.twist.angular.z = 0.01 * step, 0.1
    return message


def gripper(step: int, stamp_ns: int) -> JointState:
    message = JointState(name=["gripper"], position=[float(step < 10)], velocity=array("d"))
    message.header.stamp = stamp_from_ns(stamp_ns)
    return message


def pose(step: int, stamp_ns: int) -> PoseStamped:
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = stamp_from_ns(stamp_ns), "base"
    message.pose.position.y = 0.001 * step**2
    return message


class Recorder:
    """`vla-ros record` with these arguments; leaving the `with` block ends it."""

    def __init__(self, folder: Path, domain: int, *arguments: str) -> None:
        self.folder = folder
        environment = {**os.environ, **ros_environment(domain), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._log = folder / "recorder.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(folder), *arguments],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self._process.wait(LIMIT_S)

    def files(self, pattern: str = "*.mcap") -> list[Path]:
        return sorted(self.folder.glob(pattern))

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            print(self.text)
