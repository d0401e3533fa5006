"""A topic that only this gate publishes, and who listens to it."""

from typing import Any

from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import qos_policy_name_from_kind

from vla_ros.node import qos
from vla_ros.node.publish import publish

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks


class CommandTopic:
    """Commands to one controller: reliable, one message deep, published only while the node is active."""

    def __init__(self, node: LifecycleNode, kind: type, name: str) -> None:
        self._node = node
        self._mismatch = ""
        events = PublisherEventCallbacks(incompatible_qos=self._on_mismatch)
        self._publisher: Any = node.create_lifecycle_publisher(kind, name, qos.RELIABLE, event_callbacks=events)

    @property
    def name(self) -> str:
        """The topic's full name."""
        return str(self._publisher.topic_name)

    @property
    def receivers(self) -> int:
        """Subscribers of the same type and a fitting quality of service."""
        return int(self._publisher.get_subscription_count())

    @property
    def problem(self) -> str:
        """Why no command arrives anywhere; empty if one does."""
        return "" if self.receivers else f"{self.name}: no subscriber{self._mismatch}"

    def publish(self, message: Any) -> bool:
        """Publish; False if the middleware did not take it."""
        return publish(self._node, self._publisher, message)

    def is_delivered(self, within_s: float) -> bool:
        """Wait until every receiver has acknowledged what was published; False if one does not in time."""
        return bool(self._publisher.wait_for_all_acked(Duration(seconds=within_s)))

    def destroy(self) -> None:
        """Leave the topic."""
        self._node.destroy_lifecycle_publisher(self._publisher)

    def _on_mismatch(self, event: Any) -> None:
        # nothing tells of its end: it is named only while nobody else listens
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self._mismatch = f"; one asks for a {policy} that commands do not have"
