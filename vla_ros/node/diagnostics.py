"""What a node says of itself on /diagnostics: once a second, and whenever its state changes."""

from collections.abc import Callable, Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node

from vla_ros.node import qos
from vla_ros.node.publish import publish

PERIOD_S = 1.0

LEVELS = {
    "ACTIVE": DiagnosticStatus.OK,
    "ARMED": DiagnosticStatus.OK,
    "RUN": DiagnosticStatus.OK,
    "UNCONFIGURED": DiagnosticStatus.WARN,
    "INACTIVE": DiagnosticStatus.WARN,
    "HOLD": DiagnosticStatus.WARN,
    "FINALIZED": DiagnosticStatus.WARN,
    "FAULT": DiagnosticStatus.ERROR,
}
"""By the first word of a state; OK means that the node is doing what it is there for, or could at once."""


def make_status(name: str, state: str, hardware_id: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """One status.

    Args:
        name: of the node.
        state: its line on `~/state`, e.g. `HOLD: reason`.
        hardware_id: what it runs, or runs on.
        values: what else there is to say; units are part of the names.
    """
    level = LEVELS[state.partition(":")[0]]
    status = DiagnosticStatus(level=level, name=name, message=state, hardware_id=hardware_id)
    status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return status


class Diagnostics:
    """A node's publisher of /diagnostics with its timer.

    The topic is shared with every other node of the robot, as `diagnostic_aggregator` and rqt want it.
    """

    def __init__(self, node: Node, make: Callable[[], DiagnosticStatus]) -> None:
        """Publish what `make` returns once a second from now on, by a clock that no simulator stops."""
        self._node = node
        self._make = make
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.RELIABLE)
        node.create_timer(PERIOD_S, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publish now, because something changed."""
        message = DiagnosticArray(status=[self._make()])
        message.header.stamp = self._node.get_clock().now().to_msg()
        publish(self._node, self._publisher, message)
