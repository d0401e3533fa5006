"""Child processes that are started together, watched, and never outlive their parent."""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

STOP_SIGNALS = ((signal.SIGINT, 5.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))
"""How children are asked to stop, and how long each request is given [s]."""

_ERROR_LINE = re.compile(r"\[(ERROR|FATAL)\]|\w*(Error|Exception)\b|\b(error|fatal): |[Aa]borted|Segmentation fault")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Exited:
    """A child that has ended: its name, exit code (negative: the signal) and log file."""

    name: str
    code: int
    log: Path

    def __str__(self) -> str:
        how = f"exit code {self.code}" if self.code >= 0 else f"signal {signal.Signals(-self.code).name}"
        return f"{self.name}: ended with {how}: {last_error_line(self.log)} (log: {self.log})"


class Processes:
    """Children, each in its own process group and with its own log file; leaving the `with` block stops them all.

    Ctrl-C and SIGTERM to this process leave the block like any exception; should this process be killed outright,
    the kernel sends its children SIGTERM.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Processes":
        self._logs.mkdir(parents=True, exist_ok=True)
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._previous[number] = signal.signal(number, _leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ignored = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *self._previous)}
        try:
            self.stop()
        finally:
            for number, handler in (ignored | self._previous).items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a child; its output goes to `<logs>/<name>.log`."""
        with self.log(name).open("wb") as log:
            self._children[name] = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def log(self, name: str) -> Path:
        """The log file of a child."""
        return self._logs / f"{name}.log"

    def exited(self) -> list[Exited]:
        """The children that have ended so far, in the order in which they were started."""
        return [
            Exited(name, child.returncode, self.log(name))
            for name, child in self._children.items()
            if child.poll() is not None
        ]

    def stop(self) -> None:
        """Stop every child and whatever it started: SIGINT, then SIGTERM, then SIGKILL to the process groups."""
        for number, patience_s in STOP_SIGNALS:
            if self._signal_groups(number):
                self._wait(patience_s)
        self._children.clear()

    def _signal_groups(self, number: signal.Signals) -> bool:
        """Signal the groups that still have members; whether there were any."""
        alive = False
        for child in self._children.values():
            child.poll()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
                alive = True
        return alive

    def _wait(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while self._signal_groups_exist() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _signal_groups_exist(self) -> bool:
        exist = False
        for child in self._children.values():
            child.poll()  # reaps the leader, which would otherwise keep its group alive as a zombie
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, 0)
                exist = True
        return exist


def last_error_line(log: Path) -> str:
    """The last line of a log that speaks of an error; where none does, that and its last line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR_LINE.search(line)]
    if errors:
        return errors[-1]
    return f"no error in its log, which ends with: {lines[-1]}" if lines else "it wrote nothing"


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _die_with_parent() -> None:
    """Runs in the child before exec; the children are started before this process has a second thread."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
