"""One run: follow the images, then press the emergency stop again and again."""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vla_ros.bench import reaction_nodes
from vla_ros.bench.reaction import CAMERA_RATE_HZ, COMMAND_PERIOD_NS, Case, Measured
from vla_ros.bench.reaction_operator import Operator
from vla_ros.bench.reaction_stages import reactions, read_traces, stops, ticks
from vla_ros.errors import EngineError
from vla_ros.evaluation.processes import Processes, last_error_line
from vla_ros.node.scheduling import inherited_priority

START_S = 120.0
"""How long the processes may take until the gate runs: a large policy is opened and warmed up [s]."""
SETTLE_S = 1.0
"""From the first motion to the first image that is followed [s]."""
SHOWN_EVERY_S = 0.25
HELD_S = 0.1
"""How long the emergency stop stays pressed [s]."""
PAUSE_S = (0.1, 0.2)
"""From running again to the next stop [s]."""


class Run:
    """The processes of one case, and what is noted beside their traces."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case = case
        self._folder = folder
        self._processes = Processes(folder / "logs")
        self._operator = Operator()
        self._presses: list[tuple[int, int]] = []
        self._start_ns = self._end_ns = 0
        self._interruptions: list[str] = []
        self._is_whole = False

    def go(self) -> None:
        """From start to end; all processes have ended when this returns or raises.

        Raises:
            EngineError: a process died.
            ContractError: the gate does not run.
            KeyboardInterrupt: before the first image was followed; later it only ends the run.
        """
        with self._processes as processes, self._operator:
            reaction_nodes.start(self._case, self._folder, processes)
            try:
                self._follow()
                self._press()
                self._is_whole = True
            except KeyboardInterrupt:
                if not self._start_ns:
                    raise
                # what was under way when it ended is not lost
                self._end_ns = self._end_ns or time.time_ns() - round(SETTLE_S * 1e9)

    def measured(self, others_cores: float | None) -> Measured:
        """Read the traces."""
        marks = read_traces(self._folder.glob("*.jsonl"))
        shown = sorted(stamp for stamp, _ in marks.get("shown", []))
        stamps = [stamp for stamp in shown if self._start_ns <= stamp < self._end_ns][: self._case.frames]
        return Measured(
            case=self._case,
            reactions=reactions(marks, stamps),
            ticks=ticks(marks, COMMAND_PERIOD_NS, self._start_ns, self._end_ns),
            stops=stops(marks, COMMAND_PERIOD_NS, self._presses),
            interruptions=self._interruptions,
            is_whole=self._is_whole,
            others_cores=others_cores,
        )

    def _follow(self) -> None:
        """Until every image that is to be followed has been shown."""
        operator, frames = self._operator, self._case.frames
        operator.run(self._check, START_S)
        time.sleep(SETTLE_S)
        operator.interruptions.clear()
        self._start_ns = time.time_ns()
        end_ns = self._start_ns + round((frames + 2) / CAMERA_RATE_HZ * 1e9)
        with _bar(frames, self._case.name) as bar:
            while time.time_ns() < end_ns:
                time.sleep(SHOWN_EVERY_S)
                operator.run(self._check, START_S)
                bar.n = min(frames, round((time.time_ns() - self._start_ns) * CAMERA_RATE_HZ / 1e9))
                bar.refresh()
        self._end_ns = time.time_ns()
        self._interruptions = list(operator.interruptions)

    def _press(self) -> None:
        """Press the emergency stop at moments that have nothing to do with the ticks.

        The button is a device as camera and receiver are, and no program that waits for a core while a policy computes.
        """
        pauses_s = np.random.default_rng(self._case.seed).uniform(*PAUSE_S, self._case.stops)
        with (
            inherited_priority(self._case.placement.gate_priority),
            _bar(self._case.stops, f"{self._case.name}: emergency stops") as bar,
        ):
            for pause_s in pauses_s:
                time.sleep(pause_s)
                pressed_ns = self._operator.press()
                time.sleep(HELD_S)
                self._presses.append((pressed_ns, self._operator.release()))
                self._operator.run(self._check, START_S)
                bar.update()

    def _check(self) -> None:
        for exited in self._processes.exited():
            why = last_error_line(exited.log)
            raise EngineError(f"{exited.name}: expected it to run, got its end, exit code {exited.code}: {why}")


def _bar(total: int, name: str) -> "tqdm[Any]":
    # a pipe or a file gets only the report
    return tqdm(total=total, desc=name, leave=False, disable=not sys.stderr.isatty())
