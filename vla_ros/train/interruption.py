"""Ctrl-C between two steps, never inside one: half a step would make a checkpoint that nothing resumes exactly."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_interruption() -> Iterator[threading.Event]:
    """Within the block, SIGINT and SIGTERM only set the event; the second one acts as ever."""
    event = threading.Event()
    former = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        event.set()
        signal.signal(number, former[signal.Signals(number)])

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield event
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
