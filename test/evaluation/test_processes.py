import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vla_ros.evaluation import processes as processes_module
from vla_ros.evaluation.processes import Processes, last_error_line

SLEEPER = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
STUBBORN = (
    "import os, signal, time;"
    "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print(os.getpid(), flush=True); time.sleep(60)"
)
PARENT = (
    "import os, subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print(child.pid, os.getpid(), flush=True); time.sleep(60)"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_for(log: Path) -> str:
    deadline = time.monotonic() + 10
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{log} stays empty"
        time.sleep(0.02)
    return log.read_text().strip()


def is_running(pid: int) -> bool:
    """Whether the process exists and is not merely waiting to be reaped by someone else."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_children_that_ignore_every_request_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = tuple((number, 0.2) for number, _ in processes_module.STOP_SIGNALS)
    monkeypatch.setattr(processes_module, "STOP_SIGNALS", quick)
    with Processes(tmp_path) as processes:
        processes.start("stubborn", python(STUBBORN), os.environ)
        pid = int(wait_for(processes.log("stubborn")))
    assert not is_running(pid)


def test_what_a_child_started_ends_with_it_even_when_the_child_is_gone(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("parent", python(PARENT), os.environ)
        grandchild, child = map(int, wait_for(processes.log("parent")).split())
        os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while is_running(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(grandchild)


def test_an_exception_in_the_block_stops_all_and_passes(tmp_path: Path) -> None:
    def start_and_fail() -> None:
        with Processes(tmp_path) as processes:
            processes.start("parent", python(PARENT), os.environ)
            wait_for(processes.log("parent"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_and_fail()
    assert not any(is_running(int(pid)) for pid in (tmp_path / "parent.log").read_text().splitlines()[0].split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_children_do_not_outlive_a_parent_that_gets_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import os, signal, sys, time; from pathlib import Path; from vla_ros.evaluation.processes import Processes\n"
        # a shell's background job, which a test run may be, starts with SIGINT ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"with Processes(Path({str(tmp_path)!r})) as processes:\n"
        f"    processes.start('child', [sys.executable, '-c', {SLEEPER!r}], os.environ)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen(python(code), stderr=subprocess.DEVNULL)
    child = int(wait_for(tmp_path / "child.log"))
    parent.send_signal(number)
    assert parent.wait(timeout=15) != 0
    deadline = time.monotonic() + 5
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(child)


def test_an_exited_child_is_reported_with_its_last_error_line_and_log(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("node", python("print('ready'); raise RuntimeError('no such engine')"), os.environ)
        deadline = time.monotonic() + 10
        while not processes.exited() and time.monotonic() < deadline:
            time.sleep(0.02)
        (exited,) = processes.exited()
    assert (exited.name, exited.code) == ("node", 1)
    assert str(exited) == f"node: ended with exit code 1: RuntimeError: no such engine (log: {tmp_path / 'node.log'})"


def test_the_last_error_line_is_found_before_later_chatter(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    log.write_text("[INFO] up\n[ERROR] bundle: one flipped bit\n[INFO] max action error 0.1\n\n")
    assert last_error_line(log) == "[ERROR] bundle: one flipped bit"
    log.write_text("one\ntwo\n")
    assert last_error_line(log) == "no error in its log, which ends with: two"
    log.write_text("")
    assert last_error_line(log) == "it wrote nothing"
