"""What `mutmut run` found: a table by file and the diff of every survivor; fails where too many survived."""

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

LEAST = 0.95
KILLED = ("killed", "timeout")
MUTMUT = Path(sys.executable).with_name("mutmut")


def mutmut(*arguments: str) -> str:
    """Its standard output."""
    return subprocess.run([MUTMUT, *arguments], check=True, capture_output=True, text=True).stdout


def results() -> dict[str, str]:
    """What became of each mutant, by its name `package.module.function`."""
    lines = mutmut("results", "--all", "True").splitlines()
    return dict(line.strip().split(": ") for line in lines)


def table(status_of: dict[str, str]) -> str:
    """One line a file, and one for all."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, status in status_of.items():
        module = name.rpartition(".")[0]
        for row in (module.replace(".", "/") + ".py", "all"):
            counts[row]["killed" if status in KILLED else status] += 1
    lines = [f"{'file':<44}{'mutants':>9}{'killed':>9}{'survived':>9}{'score':>9}"]
    for row in sorted(counts, key=lambda row: (row == "all", row)):
        total, killed = counts[row].total(), counts[row]["killed"]
        lines.append(f"{row:<44}{total:>9}{killed:>9}{total - killed:>9}{killed / total:>9.1%}")
    return "\n".join(lines)


def main() -> int:
    """Print it all; 1 where less than LEAST were killed, or none were there to be."""
    status_of = results()
    for name, status in status_of.items():
        if status not in KILLED:
            print(mutmut("show", name))
    print(table(status_of))
    score = sum(status in KILLED for status in status_of.values()) / max(len(status_of), 1)
    if score < LEAST:
        print(
            f"expected {LEAST:.0%} killed at least, got {score:.1%}: each survivor above lacks a test that fails on it"
        )
    return int(score < LEAST)


if __name__ == "__main__":
    sys.exit(main())
