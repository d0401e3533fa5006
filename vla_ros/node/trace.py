"""When each message passed each stage of a node: kept in memory, written as JSON lines when the node ends."""

import itertools
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

from vla_ros.errors import ConfigError

STAGES = {
    "image": "policy_node got the image",
    "admitted": "it is fresh, in order and as its camera's should be; its pixels are copied",
    "begun": "the inference thread has it",
    "prepared": "it is resized and normalised",
    "inferred": "the chunk is there, in SI units",
    "chunk": "command_gate got the chunk and admitted it",
    "tick": "the first tick that ran the chunk; its time is the stamp of that tick's command",
    "shown": "a camera published the image",
    "due": "any tick of command_gate; the stamp is when it was due, so the difference is how late it was",
    "stop": "a receiver got a command that is zero; the stamp is the command's",
    "command": "a receiver got a command that is not; the stamp is the command's",
}
"""What is done at the time of a mark; but for the last three, the stamp is the image's."""

CAPACITY = 1 << 20
"""Marks that are kept, the newest ones: 24 MB, more than an hour of a camera at 30 Hz and a gate at 100 Hz."""

_NUMBERS = {stage: number for number, stage in enumerate(STAGES)}


class Trace:
    """Marks of one process, from any of its threads; less than a microsecond each, and no work without a path.

    Times are the system clock's, which header stamps are of. The file has a line per mark, in the order of the marks:
    `{"stamp_ns": …, "stage": "admitted", "time_ns": …}`.
    """

    def __init__(self, path: str, capacity: int = CAPACITY) -> None:
        """Reserve the memory and make sure of the file; an empty path switches the trace off.

        Raises:
            ConfigError: no file can be written there.
        """
        self._path = path
        self._capacity = capacity if path else 0
        self._next = itertools.count()  # the next free place; unlike an integer, threads may share it
        self._stamps, self._stages, self._times = (array("q", bytes(8 * self._capacity)) for _ in range(3))
        if not path:
            return
        try:
            Path(path).write_text("", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"trace: {path}: expected a file that can be written, got {error.strerror}") from error

    def mark(self, stamp_ns: int, stage: str, time_ns: int | None = None) -> None:
        """Note that what has this header stamp is through with a stage, now or at a time noted before [ns]."""
        if not self._capacity:
            return
        place = next(self._next) % self._capacity
        self._stamps[place] = stamp_ns
        self._stages[place] = _NUMBERS[stage]
        self._times[place] = time.time_ns() if time_ns is None else time_ns

    def write(self) -> int:
        """Write the file, once, when all is over; returns how many of the oldest marks are not in it."""
        if not self._capacity:
            return 0
        count = next(self._next)
        with Path(self._path).open("w", encoding="utf-8") as file:
            file.writelines(self._lines(count))
        return max(0, count - self._capacity)

    def _lines(self, count: int) -> Iterator[str]:
        names = list(STAGES)
        for index in range(max(0, count - self._capacity), count):
            place = index % self._capacity
            stamp_ns, name, time_ns = self._stamps[place], names[self._stages[place]], self._times[place]
            yield f'{{"stamp_ns": {stamp_ns}, "stage": "{name}", "time_ns": {time_ns}}}\n'
