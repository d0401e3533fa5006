"""What this machine's CPU can do."""

from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
WIDE_INT8_SUMS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def cpu_flags() -> frozenset[str]:
    """As Linux names them; none on other systems, and on CPUs that are not x86."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return frozenset()
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    return frozenset(flags.split())


def saturates_int8(flags: frozenset[str]) -> bool:
    """Whether products of 8-bit numbers are summed in 16 bits, two by two, and stop at 32767: x86 before VNNI
    (vpmaddubsw). Kernels that take that instruction answer wrongly without an error."""
    return "sse2" in flags and not flags & WIDE_INT8_SUMS
