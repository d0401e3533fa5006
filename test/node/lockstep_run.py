"""Runs in lockstep with a simulator inside the test, and `vla-ros replay` as a process of its own."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import SetBool

from test.node.fleet import GATE, LIMIT_S, ROOT, Probe
from test.sim.fake_simulator import FakeSimulator
from vla_ros.data.mcap_run import policy_values
from vla_ros.evaluation.domain import reserved_domain
from vla_ros.sim.episode import EpisodeResult
from vla_ros.sim.lockstep import EpisodeRunner, SimClock
from vla_ros.sim.ros_link import RosLink

HEARD = {
    *("/clock", "/image", "/instruction", "/delta_twist_cmds", "/gripper_command", "/diagnostics"),
    *("/policy_node/action_chunk", "/policy_node/instruction", "/policy_node/state", "/command_gate/state"),
}
"""By a recorder of a run with `--sim-time`, while nobody has an emergency stop."""

PROGRAM = """
import signal, sys
from vla_ros import cli
from vla_ros.commands import replay
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
replay.POLICY_PROGRAM = sys.argv[1]
sys.exit(cli.main(["replay", *sys.argv[2:]]))
"""
STUB, REAL = "test.node.replayed_policy", "vla_ros.node.policy_node"


@contextlib.contextmanager
def connected(domain: int) -> Iterator[RosLink]:
    """The bridge's way to policy_node and command_gate, which run already."""
    rclpy.init(args=[], domain_id=domain)
    rate_hz = GATE["control_rate_hz"]
    link = RosLink(camera="fake", rate_hz=rate_hz, answer_timeout_s=LIMIT_S, stop=threading.Event())
    try:
        link.wait_until_connected(LIMIT_S)
        yield link
    finally:
        link.close()
        rclpy.try_shutdown()


def run_episode(link: RosLink, simulator: FakeSimulator, horizon: int, clock: SimClock, task: int) -> EpisodeResult:
    """One, to its end."""
    runner = EpisodeRunner(
        simulator=simulator,
        link=link,
        clock=clock,
        observe_every_n_steps=horizon,
        video_every_n_steps=0,
        on_step=lambda step, state: None,
    )
    result = runner.run(simulator.tasks()[task], 0, 0, None, "")
    assert result.outcome in ("success", "timeout"), result.reason
    return result


def wait_for_recorder(probe: Probe) -> None:
    """Until it hears all that is said."""

    def is_listening() -> bool:
        if "recorder" not in probe.node.get_node_names():
            return False
        topics = probe.node.get_subscriber_names_and_types_by_node("recorder", "/")
        return {topic for topic, _ in topics} >= HEARD

    probe.until(is_listening, "the recorder's subscriptions")
    heard = probe.listen("/diagnostics", DiagnosticArray)
    probe.until(lambda: sum(map(bool, map(policy_values, heard))) >= 2, "the policy's diagnostics, once a second")


def switch_recorder(probe: Probe, is_on: bool) -> None:
    """Begin or finish a file."""
    client = probe.node.create_client(SetBool, "/recorder/record")
    probe.until(client.service_is_ready, "the recorder's service")
    future = client.call_async(SetBool.Request(data=is_on))
    probe.until(future.done, "the recorder's answer")
    assert future.result().success, future.result().message


@contextlib.contextmanager
def isolated(folder: Path) -> Iterator[int]:
    """As the fixture `ros_domain`, for a run that several tests share."""
    with pytest.MonkeyPatch.context() as patch, reserved_domain() as domain:
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patch.setenv("ROS_LOG_DIR", str(folder / "ros_log"))
        yield domain


class Replay:
    """`vla-ros replay` with these arguments, in a folder."""

    def __init__(self, folder: Path, *arguments: str | Path, program: str = STUB) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, program, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        output, errors = self._process.communicate(timeout=LIMIT_S)
        return self._process.returncode, output, errors

    def children(self) -> list[int]:
        """Processes that read a parameter file of this replay: its policy_node."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it has ended
                if f"{self._folder}/vla_ros-replay-".encode() in entry.read_bytes():
                    found.append(int(entry.parent.name))
        return found

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)


def new_clock() -> SimClock:
    """A simulator's time, later than that of any run before."""
    return SimClock(time.time_ns())
