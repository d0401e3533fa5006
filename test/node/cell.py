"""A robot's cell around command_gate: operator, policy and an arm that tells where it is."""

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.qos import QoSProfile
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from test.node.fleet import GATE, Fleet, Probe
from vla_ros.action import ActionChunk
from vla_ros.node import qos
from vla_ros.node.messages import stamp_from_ns, trajectory_from_chunk

PERIOD_NS = 50_000_000
ROWS = 8
ROW_MM = np.arange(1.0, ROWS + 1)
"""Row k of every chunk moves k + 1 mm along x."""

HALF = 0.5**0.5
QUARTER_TURN_ABOUT_Z = [0.0, 0.0, HALF, HALF]
START_M = [0.4, 0.1, 0.3]
FRAMES = {"base_frame_id": "base", "end_effector_frame_id": "tool"}


class Cell:
    """A robot's cell around a gate: the operator, the policy, and what listens to the gate."""

    def __init__(self, fleet: Fleet, probe: Probe, **parameters: Any) -> None:
        self.probe = probe
        self.states: Callable[[], list[str]] = probe.states("command_gate/state")
        self._agreed: Callable[[], list[str]] = probe.states("command_gate/instruction")
        create = probe.node.create_publisher
        self._instructions = create(String, "instruction", qos.LATCHED)
        self._policy_instructions = create(String, "policy_node/instruction", qos.LATCHED)
        self._chunks = create(JointTrajectory, "policy_node/action_chunk", qos.RELIABLE)
        fleet.start_node("command_gate", {**GATE, "lockstep": False, **parameters})
        probe.until(lambda: self._chunks.get_subscription_count() == 1, "discovery")

    def now_ns(self) -> int:
        return int(self.probe.node.get_clock().now().nanoseconds)

    def until_state(self, start: str) -> None:
        self.probe.until(lambda: self.states() and self.states()[-1].startswith(start), start)

    def instruct(self) -> None:
        self._instructions.publish(String(data="go"))
        self._policy_instructions.publish(String(data="go"))
        self.probe.until(lambda: self._agreed() and self._agreed()[-1] == "go", "agreement")

    def send_chunk(self, opening: float = 1.0, frame_id: str = "base") -> None:
        actions = np.zeros((ROWS, 7), np.float32)
        actions[:, 0], actions[:, 6] = ROW_MM / 1000, opening
        chunk = ActionChunk(
            actions=actions, stamp_ns=self.now_ns(), period_ns=PERIOD_NS, frame_id=frame_id, rotation="axis_angle"
        )
        self._chunks.publish(trajectory_from_chunk(chunk))

    def play(self, opening: float = 1.0, frame_id: str = "base") -> None:
        """A whole chunk, from the instruction to the hold at its end."""
        self.until_state("ARMED: waiting for an instruction")
        self.instruct()
        self.send_chunk(opening, frame_id)
        self.until_state("RUN")
        self.until_state("HOLD: no chunk for")


class Arm:
    """Tells the gate where the end effector is: again and again, as a broadcaster does."""

    def __init__(self, probe: Probe, profile: QoSProfile = qos.BEST_EFFORT) -> None:
        self._probe = probe
        self._poses = probe.node.create_publisher(PoseStamped, "end_effector_pose", profile)
        self._timer = probe.node.create_timer(PERIOD_NS / 1e9, self._tell)
        self.position_m = list(START_M)
        self.quaternion_xyzw = list(QUARTER_TURN_ABOUT_Z)
        self.frame_id = "base"
        self.age_ns = 0
        self.is_silent = False

    def _tell(self) -> None:
        if self.is_silent:
            return
        message = PoseStamped()
        now_ns = int(self._probe.node.get_clock().now().nanoseconds)
        message.header.stamp, message.header.frame_id = stamp_from_ns(now_ns - self.age_ns), self.frame_id
        point, turn = message.pose.position, message.pose.orientation
        point.x, point.y, point.z = self.position_m
        turn.x, turn.y, turn.z, turn.w = self.quaternion_xyzw
        self._poses.publish(message)
