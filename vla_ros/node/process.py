"""How every node's process starts, spins and ends: the one recipe that shuts rclpy down cleanly every time."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from vla_ros.errors import VlaRosError
from vla_ros.node.environment import apply_defaults
from vla_ros.node.managed import ManagedLifecycleNode
from vla_ros.node.scheduling import parse_cores, schedule

SPIN_S = 0.1
"""How long the executor waits at most before it looks whether it should end [s]."""


def stop_on_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set; a second signal, which launch sends, changes nothing."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop


def ignore_signals() -> None:
    """The last act of a process: a signal while Python finalises, when handlers are gone, would be an unclean exit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def init(arguments: list[str]) -> None:
    """Start rclpy without its own signal handlers, with the shipped Fast DDS profile, on this host only by default."""
    apply_defaults()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)


def make_executor() -> Executor:
    """The executor of a node: one that is told of events, where this ROS has it.

    It hands a message over in half the time of the one that builds a set to wait for after each callback, which is all
    that ROS had before Kilted. It knows no guard conditions, and its `spin` without a timeout does not work in 9.1.2.
    """
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


def run_node(
    name: str, description: str, make_node: Callable[[], ManagedLifecycleNode[Any]], arguments: list[str] | None
) -> int:
    """Run one lifecycle node until SIGINT or SIGTERM.

    Returns:
        The exit code: 0 after a clean end; 1 if it could not configure by itself; 2 for a mistake in parameters.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog=name, description=description, epilog=f"Parameters: {name} --ros-args --params-file FILE"
    )
    stop = stop_on_signals()
    executor = None
    node = None
    try:
        parser.parse_args(remove_ros_args([name, *arguments])[1:])
        init(arguments)
        node = make_node()
        executor = make_executor()
        executor.add_node(node)
        schedule(parse_cores(node.values.cpu_affinity), node.values.thread_priority, node.values.nice)
        if node.autostart and not _is_started(node):
            return 1
        _spin(executor, node, stop)
        return 0
    except VlaRosError as error:
        print(error, file=sys.stderr)  # it names its file, or the node
        return 2
    except RuntimeError as error:  # rcl's own, of which the classes are private: bad arguments, an unreadable file
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    finally:
        if node is not None:
            node.end()
        if executor is not None:
            executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        if node is not None:
            _write_trace(node)
        ignore_signals()


def _write_trace(node: ManagedLifecycleNode[Any]) -> None:
    """Last of all: the robot has its stop, and nobody waits for this process any more."""
    try:
        missing = node.trace.write()
    except OSError as error:
        print(f"trace: {node.values.trace}: expected a file that can be written, got {error.strerror}", file=sys.stderr)
        return
    if missing:
        print(f"trace: {node.values.trace}: the oldest {missing} marks are not in it", file=sys.stderr)


def _is_started(node: ManagedLifecycleNode[Any]) -> bool:
    success = TransitionCallbackReturn.SUCCESS
    return node.trigger_configure() == success and node.trigger_activate() == success


def _spin(executor: Executor, node: ManagedLifecycleNode[Any], stop: threading.Event) -> None:
    while rclpy.ok() and not stop.is_set():
        try:
            executor.spin_once(timeout_sec=SPIN_S)
        except RuntimeError as error:
            if "transition" not in str(error):
                raise
            # Jazzy raises on a lifecycle transition that the present state does not have; Kilted only logs it
            node.get_logger().error(f"lifecycle: {' '.join(str(error).split())}")
