"""Memory that a process holds only because it once read or built something."""

import ctypes
import re
from pathlib import Path

MADV_DONTNEED = 4
MAPS = Path("/proc/self/maps")
_LINE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r--[ps] \S+ \S+ \S+\s+(.*)$", re.MULTILINE)


def trim() -> None:
    """Give freed memory back to the system: the allocator keeps what a graph was parsed and optimised in."""
    trim_heap = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim_heap is not None:
        trim_heap(0)


def drop_pages(path: Path) -> None:
    """Give the pages of a file that is mapped read-only back to the system; whoever reads them again has them again.

    An engine that packed its own copy of the weights would otherwise be counted twice, and the system would look fuller
    than it is. Where there is no such list of maps (no Linux) nothing happens.
    """
    try:
        maps = MAPS.read_text(encoding="utf-8")
    except OSError:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for begin, end, name in _LINE.findall(maps):
        if name == str(path.resolve()):
            address, length = int(begin, 16), int(end, 16) - int(begin, 16)
            libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), MADV_DONTNEED)
