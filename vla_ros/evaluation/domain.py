"""A ROS domain of one's own, so that two evaluations on one machine never hear each other."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from vla_ros.errors import SimulatorError

DOMAINS = range(1, 102)
"""Domain 0 is everybody's default; above 101 the ports collide with Linux's ephemeral ones."""


@contextmanager
def reserved_domain() -> Iterator[int]:
    """Yield a ROS_DOMAIN_ID that no other evaluation and no running ROS node of this machine uses.

    The reservation is an abstract Unix socket: the kernel frees it when this process ends, however it ends, and it
    reaches exactly as far as the network namespace that DDS's ports live in.

    Raises:
        SimulatorError: all domains are taken.
    """
    first = os.getpid()
    for offset in range(len(DOMAINS)):
        domain = DOMAINS[(first + offset) % len(DOMAINS)]
        lock = _reserve(domain)
        if lock is None:
            continue
        with lock:
            if _is_silent(domain):
                yield domain
                return
    raise SimulatorError("ROS_DOMAIN_ID: expected a free one in 1..101, got none; stop other ROS nodes")


def _reserve(domain: int) -> socket.socket | None:
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0vla_ros-domain-{domain}")
    except OSError:
        lock.close()
        return None
    return lock


def _is_silent(domain: int) -> bool:
    """Whether no DDS participant of this machine has the domain's first unicast discovery port (RTPS 2.2, 9.6.1.1)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("0.0.0.0", 7400 + 250 * domain + 10))  # noqa: S104 (bound for a moment, never read)
        except OSError:
            return False
    return True
