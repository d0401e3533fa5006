"""A robot's cell in real time: policy_node and command_gate as processes; camera, operator and controller here."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from test.node.fleet import GATE, POLICY, Fleet, Probe
from vla_ros.node import qos
from vla_ros.node.messages import image_from_pixels, ns_from_stamp

PERIOD_NS = 50_000_000
"""T: of the gate's ticks, the rows and the camera [ns]."""

ROWS = 4
TIMEOUT_NS = 4 * PERIOD_NS
"""Of images and of chunks [ns]."""

RECEIVER_TIMEOUT_NS = 100_000_000
"""After which a controller like MoveIt Servo stops by itself [ns]."""

HOUR_NS = 3600 * 10**9

EVERY_COMMAND = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1000, reliability=ReliabilityPolicy.RELIABLE)
"""Those, too, that come while the test is busy killing."""

GATE_PARAMETERS = {
    **GATE,
    "lockstep": False,
    "execution_horizon": ROWS,
    "chunk_timeout_s": TIMEOUT_NS / 1e9,
    "max_holds_per_minute": 10000,
}
POLICY_PARAMETERS = {**POLICY, "lockstep": False, "image_timeout_s": TIMEOUT_NS / 1e9, "max_identical_frames": 3}


class RunningCell:
    """Runs by itself while `probe` spins; faults are put in from outside.

    Attributes:
        stamp_ahead_ns: what is wrong with the camera's clock [ns].
        is_frozen: whether the camera shows the same pixels again and again.
        is_silent: whether it shows nothing.
        motions: stamp [ns] of every command that moved.
        commands: how many commands came in all.
    """

    def __init__(self, fleet: Fleet, probe: Probe) -> None:
        self.fleet, self.probe = fleet, probe
        self.stamp_ahead_ns, self.is_frozen, self.is_silent = 0, False, False
        self.motions: list[int] = []
        self.commands = 0
        self.heard_ns = 0
        self._pixels = 0
        self.gate: Callable[[], list[str]] = probe.states("command_gate/state")
        create = probe.node.create_publisher
        self._images = create(Image, "image", qos.IMAGE)
        self._instructions = create(String, "instruction", qos.LATCHED)
        self._stops = create(Bool, "emergency_stop", qos.LATCHED)
        self._reset = probe.node.create_client(Trigger, "command_gate/reset")
        probe.node.create_subscription(TwistStamped, "delta_twist_cmds", self._on_twist, EVERY_COMMAND)
        probe.node.create_timer(PERIOD_NS / 1e9, self._show)
        self.start("policy_node")
        self.start("command_gate")
        self.instruct("go")

    def start(self, name: str) -> None:
        parameters: dict[str, Any] = GATE_PARAMETERS if name == "command_gate" else POLICY_PARAMETERS
        self.fleet.start_node(name, parameters)

    def kill(self, name: str) -> int:
        """SIGKILL; returns when [ns]. What the process leaves in shared memory is taken away."""
        process = self.fleet.process(name)
        leftovers = shared_memory_of(process.pid)
        now_ns = self.now_ns()
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in leftovers:
            path.unlink(missing_ok=True)
        return now_ns

    def now_ns(self) -> int:
        return int(self.probe.node.get_clock().now().nanoseconds)

    def instruct(self, text: str) -> int:
        self._instructions.publish(String(data=text))
        return self.now_ns()

    def press(self, *, is_pressed: bool) -> int:
        self._stops.publish(Bool(data=is_pressed))
        return self.now_ns()

    def reset(self) -> None:
        self.probe.until(self._reset.service_is_ready, "the gate's reset")
        future = self._reset.call_async(Trigger.Request())
        self.probe.until(future.done, "the reset")

    def until_running(self) -> None:
        """Until the arm moves by what it sees now."""
        since_ns = self.now_ns()
        self.probe.until(lambda: self.motions and self.motions[-1] > since_ns, "motion")

    def until_state(self, start: str, count: int) -> None:
        """Until the gate says so, in a state that is not among the first `count` heard."""
        self.probe.until(lambda: any(text.startswith(start) for text in self.gate()[count:]), start)

    def let_pass(self, duration_ns: int) -> None:
        """Spin for so long."""
        end_ns = self.now_ns() + duration_ns
        self.probe.until(lambda: self.now_ns() >= end_ns)

    def last_motion_after(self, instant_ns: int) -> int:
        """For how long after that the gate commanded motion [ns]."""
        return max(0, max(self.motions, default=0) - instant_ns)

    def _on_twist(self, message: TwistStamped) -> None:
        twist = message.twist
        values = [getattr(part, axis) for part in (twist.linear, twist.angular) for axis in "xyz"]
        assert np.isfinite(values).all()
        self.commands += 1
        self.heard_ns = self.now_ns()
        if any(values):
            self.motions.append(ns_from_stamp(message.header.stamp))

    def _show(self) -> None:
        if self.is_silent:
            return
        self._pixels += not self.is_frozen
        pixels = np.full((32, 32, 3), self._pixels % 200 + 20, np.uint8)
        stamp_ns = max(self.now_ns() + self.stamp_ahead_ns, 0)
        self._images.publish(image_from_pixels(pixels, min(stamp_ns, (2**31 - 1) * 10**9), "camera"))


def shared_memory_of(pid: int) -> set[Path]:
    """Files in /dev/shm that this process alone has mapped."""
    mapped = {other: _mapped(other) for other in map(int, filter(str.isdigit, os.listdir("/proc")))}
    own = mapped.pop(pid, set())
    return own.difference(*mapped.values())


def _mapped(pid: int) -> set[Path]:
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:  # it ended meanwhile, or is somebody else's
        return set()
    return {Path(line.split()[-1]) for line in lines if "/dev/shm/" in line and not line.endswith("(deleted)")}
