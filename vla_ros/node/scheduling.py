"""Which processor cores a node's process may use, and how urgent the kernel takes it to be."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from vla_ros.errors import ConfigError

MENDING = (
    "permit it to this user by `rtprio 50` and `nice -20` in /etc/security/limits.conf, or give CAP_SYS_NICE "
    "(in Docker --cap-add=SYS_NICE), or set it to 0"
)


def parse_cores(text: str) -> frozenset[int]:
    """Core numbers as `taskset --cpu-list` takes them, `0,2-3`; none for an empty text.

    Raises:
        ValueError: not such a list.
    """
    cores: set[int] = set()
    for part in text.split(",") if text else []:
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise ValueError(f"cpu_affinity: expected core numbers and ranges such as '0,2-3', got {text!r}")
        cores |= set(range(int(first), int(last or first) + 1))
    return frozenset(cores)


def schedule(cores: frozenset[int], thread_priority: int, nice: int) -> None:
    """Apply to every thread that this process has by now: the middleware has started its own already.

    Threads that start later inherit it from the thread that starts them; see `inherited_priority`.

    Args:
        cores: core numbers; none leaves the choice as it is.
        thread_priority: of SCHED_FIFO, 1 to 99; 0 leaves the threads in the usual scheduling class.
        nice: -20 to 19; 0 leaves it as it is. Threads of real-time priority do not heed it.

    Raises:
        ConfigError: there are no such cores, or the operating system does not permit it.
    """
    have = os.sched_getaffinity(0)
    if not cores <= have:
        raise ConfigError(f"cpu_affinity: expected some of the cores {_listed(have)}, got {_listed(cores)}")
    for thread in _threads():
        try:
            if cores:
                os.sched_setaffinity(thread, cores)
            if nice:
                os.setpriority(os.PRIO_PROCESS, thread, nice)
            if thread_priority:
                os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(thread_priority))
        except ProcessLookupError:
            continue  # it ended meanwhile
        except PermissionError as error:
            raise ConfigError(
                f"thread_priority, nice: expected ones that are permitted, got {thread_priority}, {nice}: {MENDING}"
            ) from error


@contextlib.contextmanager
def inherited_priority(thread_priority: int) -> Iterator[None]:
    """Real-time priority for the calling thread and whatever it starts meanwhile; 0 is none.

    None is for what computes: it would keep everything else from the cores, messages and ticks included.

    Raises:
        ConfigError: the operating system does not permit it.
    """
    former = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        policy = os.SCHED_FIFO if thread_priority else os.SCHED_OTHER
        os.sched_setscheduler(0, policy, os.sched_param(thread_priority))
    except PermissionError as error:
        raise ConfigError(
            f"inference_priority: expected one that is permitted, got {thread_priority}: {MENDING}"
        ) from error
    try:
        yield
    finally:
        os.sched_setscheduler(0, *former)


def _threads() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc/self/task").iterdir())


def _listed(cores: frozenset[int] | set[int]) -> str:
    return ",".join(map(str, sorted(cores)))
