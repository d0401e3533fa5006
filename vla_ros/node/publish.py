"""Publishing that a busy machine cannot turn into a crash."""

from typing import Any

from rclpy.node import Node


def publish(node: Node, publisher: Any, message: Any) -> bool:
    """Publish a message; False if the middleware did not take it, which is logged.

    Fast DDS gives a reliable publication up after 100 ms when its own threads get no processor, and rclpy raises. A
    gate that ended on that would leave its robot alone: the next tick, or the receiver's repeated question, makes up
    for the message.
    """
    try:
        publisher.publish(message)
    except RuntimeError as error:  # rclpy's RCLError, of which the class is private
        node.get_logger().error(f"{publisher.topic_name}: not published: {' '.join(str(error).split())}")
        return False
    return True
