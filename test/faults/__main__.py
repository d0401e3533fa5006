"""Faults by the hundred and for hours: `python -m test.faults --times 200`, `python -m test.faults --hours 8`."""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from test.faults.injections import FAULTS, Outcome
from test.faults.running_cell import RunningCell
from test.node.fleet import Fleet, Probe
from vla_ros.evaluation.domain import reserved_domain

NODES = ("policy_node", "command_gate")
MOST_GROWTH = 1.2
"""Of a process's resident memory between its first and its last tenth: more is a leak."""


def main() -> int:
    """Returns the exit code: 0 if every stop came in time and no process grew."""
    parser = argparse.ArgumentParser(prog="python -m test.faults", description=__doc__)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--times", type=int, help="each fault so many times, one kind after the other")
    length.add_argument("--hours", type=float, help="faults at random for so long, memory watched")
    parser.add_argument("--seed", type=int, default=0, help="of the random faults (0)")
    arguments = parser.parse_args()
    outcomes: dict[str, list[Outcome]] = {name: [] for name in FAULTS}
    memory: dict[str, list[int]] = {name: [] for name in NODES}
    with reserved_domain() as domain, tempfile.TemporaryDirectory() as folder, Fleet(Path(folder), domain) as fleet:
        probe = Probe(domain)
        try:
            cell = RunningCell(fleet, probe)
            for name in tqdm(list(planned(arguments)) if arguments.times else planned(arguments), unit="fault"):
                cell.until_running()
                note_memory(cell, memory)
                outcomes[name].append(FAULTS[name](cell))
        except KeyboardInterrupt:
            print("interrupted; this is what there is")
        finally:
            probe.close()
    return report(outcomes, memory if arguments.hours else {})


def planned(arguments: argparse.Namespace) -> Iterator[str]:
    """The faults, in order; a long run kills nobody, so that its processes grow old."""
    if arguments.times:
        yield from (name for name in FAULTS for _ in range(arguments.times))
        return
    random_, end_s = random.Random(arguments.seed), time.monotonic() + 3600 * arguments.hours
    names = [name for name in FAULTS if not name.startswith("kill")]
    while time.monotonic() < end_s:
        yield random_.choice(names)


def note_memory(cell: RunningCell, memory: dict[str, list[int]]) -> None:
    for name in NODES:
        status = Path(f"/proc/{cell.fleet.process(name).pid}/status").read_text()
        memory[name].append(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")))


def report(outcomes: dict[str, list[Outcome]], memory: dict[str, list[int]]) -> int:
    """Print the tables."""
    print(f"{'fault':34} {'n':>5} {'moved, median':>14} {'worst':>9} {'allowed':>9} {'late':>5}")
    late = 0
    for name, found in outcomes.items():
        if not found:
            continue
        moved_ms = [outcome.moved_ns / 1e6 for outcome in found]
        bad = sum(not outcome.is_good for outcome in found)
        late += bad
        times = f"{np.median(moved_ms):11.0f} ms {max(moved_ms):6.0f} ms {found[0].bound_ns / 1e6:6.0f} ms"
        print(f"{name:34} {len(found):5} {times} {bad:5}")
    grown = [name for name, sizes in memory.items() if _growth(sizes) > MOST_GROWTH]
    for name, sizes in memory.items():
        print(f"{name}: resident memory {sizes[0] / 1024:.0f} MiB, at the end {sizes[-1] / 1024:.0f} MiB")
    return 1 if late or grown else 0


def _growth(sizes: list[int]) -> float:
    tenth = max(len(sizes) // 10, 1)
    return float(np.median(sizes[-tenth:]) / np.median(sizes[:tenth]))


if __name__ == "__main__":
    sys.exit(main())
