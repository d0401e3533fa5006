"""How long the cores of this machine have worked, to tell what others did during a measurement."""

import os
from pathlib import Path

STAT = Path("/proc/stat")


def busy_s() -> float | None:
    """Since the system started, for everybody, the hypervisor's other guests included; None if it does not say."""
    try:
        numbers = STAT.read_text(encoding="ascii").split(maxsplit=9)[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, numbers)
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")
