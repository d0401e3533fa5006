"""Child processes that are started together, watched, and never outlive their parent."""

import contextlib
import ctypes
import itertools
import os
import re
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
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
        # of one among several workers, the log's folder tells which
        name = self.name.rpartition("/")[2]
        return f"{name}: ended with {how}: {last_error_line(self.log)} (log: {self.log})"


class Processes:
    """Children, each in its own process group and with its own log file; leaving the `with` block stops them all.

    Ctrl-C and SIGTERM to this process leave the block like any exception; should this process be killed outright,
    the kernel sends its children SIGTERM.
    """

    def __init__(self, logs: Path, inherited: Sequence[int] = ()) -> None:
        """Log into `logs`; every child holds the file descriptors `inherited` open as long as it lives."""
        self._logs = logs
        self._inherited = tuple(inherited)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._log_files: dict[str, Path] = {}
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
        """Start a child; its output goes to `<logs>/<name>.log`, or the first such file that does not exist yet."""
        self._log_files[name] = _unused(self._logs / f"{name}.log")
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("wb") as log:
            self._children[name] = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._inherited,
                preexec_fn=_die_with_parent,
            )

    def log(self, name: str) -> Path:
        """The log file of a child, as it was started last."""
        return self._log_files.get(name, self._logs / f"{name}.log")

    def exited(self) -> list[Exited]:
        """The children that have ended so far, in the order in which they were started."""
        return [
            Exited(name, child.returncode, self.log(name))
            for name, child in self._children.items()
            if child.poll() is not None
        ]

    def stop(self, *names: str) -> None:
        """Stop these children, or all, and what they started: SIGINT, SIGTERM, then SIGKILL to the process groups."""
        stopped = {name: self._children[name] for name in names or tuple(self._children) if name in self._children}
        for number, patience_s in STOP_SIGNALS:
            if _signal_groups(stopped.values(), number):
                _wait(stopped.values(), patience_s)
        for name in stopped:
            del self._children[name]


def _signal_groups(children: Collection["subprocess.Popen[bytes]"], number: int) -> bool:
    """Signal the groups that still have members; whether there were any."""
    alive = False
    for child in children:
        child.poll()  # reaps the leader, which would otherwise keep its group alive as a zombie
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
            alive = True
    return alive


def _wait(children: Collection["subprocess.Popen[bytes]"], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while _signal_groups(children, 0) and time.monotonic() < deadline:
        time.sleep(0.02)


def _unused(path: Path) -> Path:
    """The path, or with the first number that makes it new: what a child wrote before it died is kept."""
    numbered = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([path], numbered) if not candidate.exists())


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
