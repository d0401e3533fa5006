"""recorder: the topics of a demonstration or of a run into one MCAP file per episode."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rclpy.subscription import Subscription
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from vla_ros.data.recorded_topics import LATCHED, ROLES, SHARED, RecordedTopics
from vla_ros.errors import ConfigError, DatasetError
from vla_ros.node.message_definition import definition_of, message_class
from vla_ros.node.process import SPIN_S, ignore_signals, init, stop_on_signals
from vla_ros.node.recorded_episode import RecordedEpisode, publisher_of

NAME = "recorder"
DEPTH = 100
"""Messages per topic that may wait for this process."""

LAST_CALLBACKS, LAST_WAIT_S = 100, 0.002
"""What had arrived when the operator ended it is still written: so many callbacks, each waited for so long."""

DISCOVERY_S = 0.2
PROGRESS_S = 1.0
LOG_EVERY = 10
"""Of these lines, one is logged where there is no terminal to write them on."""

STRING = "std_msgs/msg/String"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The last message of a latched topic, or by one node of a shared one, with what rclpy said about it."""

    topic: str
    kind: str
    data: bytes
    info: Mapping[str, Any]


class RecorderNode(Node):
    """Writes serialized messages as they come, never decoding them.

    Topics: those of RecordedTopics, each in the type and quality of service that its publishers offer.
    Services:
        ~/record (SetBool): true begins an episode, false finishes it.
        ~/discard (Trigger): ends the episode and leaves no file.
    """

    def __init__(
        self,
        topics: RecordedTopics,
        folder: Path,
        text: str | None,
        made_with: Mapping[str, str],
        *,
        use_sim_time: bool,
    ) -> None:
        """Look for the topics.

        Args:
            folder: where the episodes' files go.
            text: an instruction to write into every episode, instead of one from the topic.
            made_with: versions and machine, to go into every file.
            use_sim_time: take the time from /clock, as the recorded headers do.
        """
        parameters = [Parameter("use_sim_time", value=use_sim_time)]
        super().__init__(NAME, parameter_overrides=parameters)
        self._topics, self._roles, self._folder = topics, topics.by_name(), folder
        self._use_sim_time = use_sim_time
        self._made_with = made_with
        self._told: dict[tuple[str, bytes], Told] = {}
        self._missing = dict(self._roles)
        self._definitions: dict[str, str] = {}
        self._episode: RecordedEpisode | None = None
        self._shown = 0
        if text is not None:
            instruction = topics.name("instruction")
            data = serialize_message(String(data=text))
            self._told[instruction, b""] = Told(topic=instruction, kind=STRING, data=data, info={})
            self._definitions[STRING] = definition_of(STRING)
            del self._missing[instruction]
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # a simulator's time may stand still
        self.create_timer(DISCOVERY_S, self._discover, clock=steady)
        self.create_timer(PROGRESS_S, self._watch, clock=steady)
        self.create_service(SetBool, "~/record", self._on_record)
        self.create_service(Trigger, "~/discard", self._on_discard)

    # ---- episodes ----

    def begin(self) -> None:
        """Begin an episode.

        Raises:
            DatasetError: the file cannot be written.
        """
        name = datetime.now().strftime("episode_%Y%m%d_%H%M%S_%f")[:-3]
        path = self._folder / f"{name}.mcap"
        self._episode = RecordedEpisode(path, self._topics, self._definitions, self._made_with)
        self.get_logger().info(f"recording {self._episode.writer.path}")
        for told in self._told.values():  # said before this episode, and perhaps not again
            self._episode.receive(told.topic, told.kind, told.data, told.info, self._now_ns())

    def finish(self) -> bool:
        """Finish the episode, if there is one; true if every topic was heard.

        Raises:
            DatasetError: the disk refused.
        """
        if self._episode is None:
            return True
        episode, self._episode = self._episode, None
        path, silent = episode.writer.finish(), episode.never_heard
        self.get_logger().info(f"wrote {path}: {episode.summary}")
        if silent:
            self.get_logger().warning(f"{path}: expected messages on {', '.join(silent)}, got none")
        return not silent

    def _on_record(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data == (self._episode is not None):
            response.message = "already recording" if request.data else "not recording"
            return response
        try:
            if request.data:
                self.begin()
            response.message = "" if self._episode is None else str(self._episode.writer.path)
            response.success = request.data or self.finish()
        except DatasetError as error:
            response.message, response.success = str(error), False
            self.get_logger().error(str(error))
        return response

    def _on_discard(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        episode, self._episode = self._episode, None
        response.success = episode is not None
        response.message = "not recording" if episode is None else f"discarded {episode.writer.path}"
        if episode is not None:
            episode.writer.discard()
            self.get_logger().info(response.message)
        return response

    # ---- topics ----

    def _discover(self) -> None:
        for topic in list(self._missing):
            infos = self.get_publishers_info_by_topic(topic)
            if infos:
                self._subscribe(topic, infos)

    def _subscribe(self, topic: str, infos: list[Any]) -> None:
        """Raises ConfigError, out of `spin`, if the topic is not what its name says."""
        types, wanted = sorted({info.topic_type for info in infos}), ROLES[self._roles[topic]]
        if len(types) != 1 or types[0] not in wanted:
            raise ConfigError(f"{topic}: type: expected {' or '.join(wanted)}, got {', '.join(types)}")
        kind = types[0]
        self._definitions[kind] = definition_of(kind)
        del self._missing[topic]
        # the weakest that a publisher offers, as rosbag2 does: it then hears all of them
        is_reliable = all(info.qos_profile.reliability is ReliabilityPolicy.RELIABLE for info in infos)
        is_latched = all(info.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL for info in infos)
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE,
        )

        def on_message(data: bytes, info: Mapping[str, Any]) -> None:
            self._on_message(topic, kind, data, info)

        def on_message_alone(data: bytes) -> None:
            self._on_message(topic, kind, data, {})

        # Humble's rclpy calls back with the message alone, later ones choose by the parameters
        callback = on_message if hasattr(Subscription, "CallbackType") else on_message_alone
        self.create_subscription(message_class(kind), topic, callback, profile, raw=True)

    def _on_message(self, topic: str, kind: str, data: bytes, info: Mapping[str, Any]) -> None:
        role = self._roles[topic]
        if role in LATCHED or role in SHARED:
            sender = publisher_of(info) if role in SHARED else b""
            self._told[topic, sender] = Told(topic=topic, kind=kind, data=data, info=info)
        if self._episode is not None:
            received_ns = None if self._use_sim_time else info.get("received_timestamp")
            self._episode.receive(topic, kind, data, info, self._now_ns() if received_ns is None else int(received_ns))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    # ---- for the operator ----

    def _watch(self) -> None:
        if self._episode is None:
            return
        if self._episode.writer.error is not None:
            self.finish()  # which says what is wrong
            return
        for topic, silent_s in self._episode.newly_silent():
            publishers = self.count_publishers(topic)
            self.get_logger().warning(f"{topic}: no message for {silent_s:.0f} s; it has {publishers} publishers")
        self._shown += 1
        if sys.stderr.isatty():
            print(f"\r{self._episode.summary}\x1b[K", end="", file=sys.stderr, flush=True)
        elif self._shown % LOG_EVERY == 0:
            self.get_logger().info(self._episode.summary)


def record(
    topics: RecordedTopics,
    folder: Path,
    text: str | None,
    made_with: Mapping[str, str],
    *,
    waits: bool,
    use_sim_time: bool,
) -> int:
    """Record until SIGINT or SIGTERM; with `waits`, only what the service begins.

    Returns:
        The exit code: 0, or 1 if a topic of the last episode was never heard.

    Raises:
        ConfigError: a topic has another type.
        DatasetError: the disk refused.
    """
    stop = stop_on_signals()
    init([])
    node = RecorderNode(topics, folder, text, made_with, use_sim_time=use_sim_time)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if not waits:
            node.begin()
        while rclpy.ok() and not stop.is_set():
            executor.spin_once(timeout_sec=SPIN_S)
        for _ in range(LAST_CALLBACKS):
            executor.spin_once(timeout_sec=LAST_WAIT_S)
    finally:
        try:
            is_complete = node.finish()
        finally:
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown()
            ignore_signals()
    return 0 if is_complete else 1
