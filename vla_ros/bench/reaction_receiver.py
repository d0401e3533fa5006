"""The robot's end: notes when each command comes; a program."""

import argparse
import sys

import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from vla_ros.node.messages import ns_from_stamp
from vla_ros.node.process import SPIN_S, ignore_signals, init, make_executor, stop_on_signals
from vla_ros.node.scheduling import schedule
from vla_ros.node.trace import Trace

EVERY_COMMAND = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""A robot wants the newest command; who counts them wants all."""


class Receiver(Node):
    """Marks a `command`, or a `stop` where it is zero."""

    def __init__(self, trace: Trace) -> None:
        super().__init__("receiver")
        self._trace = trace
        self.create_subscription(TwistStamped, "delta_twist_cmds", self._on_twist, EVERY_COMMAND)

    def _on_twist(self, message: TwistStamped) -> None:
        linear, angular = message.twist.linear, message.twist.angular
        moves = any((linear.x, linear.y, linear.z, angular.x, angular.y, angular.z))
        self._trace.mark(ns_from_stamp(message.header.stamp), "command" if moves else "stop")


def main() -> int:
    """Run until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--priority", type=int, required=True)
    parser.add_argument("--trace", required=True)
    args = parser.parse_args()
    stop = stop_on_signals()
    trace = Trace(args.trace)
    init([])
    receiver = Receiver(trace)
    executor = make_executor()
    try:
        schedule(frozenset(), args.priority, 0)
        executor.add_node(receiver)
        while rclpy.ok() and not stop.is_set():
            executor.spin_once(timeout_sec=SPIN_S)
    finally:
        executor.shutdown()
        receiver.destroy_node()
        rclpy.try_shutdown()
        trace.write()
        ignore_signals()
    return 0


if __name__ == "__main__":
    sys.exit(main())
