"""The quality of service of every topic, in one place: both ends must agree."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

BEST_EFFORT = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
"""Sensor data, of which the newest frame or none is wanted; as a subscription it matches every publisher."""

IMAGE = BEST_EFFORT

RELIABLE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""Chunks, commands and the simulator's clock: never a queue of old ones."""

STOP_DEPTH = 1000
"""Of emergency stops that wait for a busy gate none is overwritten by the next: a press counts, however short."""

LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""Instruction, emergency stop and states: whoever joins late gets the last one."""

EVERY_STOP = tuple(
    QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=STOP_DEPTH,
        reliability=profile.reliability,
        durability=profile.durability,
    )
    for profile in (LATCHED, RELIABLE, BEST_EFFORT)
)
"""Subscriptions that together match every publisher of emergency stops."""
