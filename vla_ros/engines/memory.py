"""Is there room for a policy, before an engine takes it and the system kills something?"""

from pathlib import Path

from vla_ros.bundle import GIB, WEIGHTS, Bundle
from vla_ros.errors import EngineError

MEMORY_INFO = Path("/proc/meminfo")
ENGINE_GIB = 0.2
"""Code and buffers of an engine itself."""


def check_memory(bundle: Bundle, engine: str, copies: float) -> None:
    """Refuse to open what would not fit.

    Args:
        copies: of the weights, that the engine keeps at its worst moment.

    Raises:
        EngineError: names what is needed, what is there and what would help.
    """
    available = free_memory_gib()
    needed = bundle.manifest.files[WEIGHTS].size / GIB * copies + ENGINE_GIB
    if available is not None and needed > available:
        raise EngineError(
            f"{bundle.path / WEIGHTS}: expected {needed:.1f} GiB of free memory for {engine}, got {available:.1f} GiB; "
            "export with fewer bits (`vla-ros export --precision int8`) or a smaller backbone"
        )


def free_memory_gib() -> float | None:
    """Without swapping; None where the system does not say."""
    try:
        lines = MEMORY_INFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) / 1024**2 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None
