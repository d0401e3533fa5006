"""The nodes as real processes, and a probe node inside the test; waits have a limit that only a broken test reaches."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String

from vla_ros.node import qos
from vla_ros.node.environment import ros_environment

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0
PATIENCE_S = 10.0
"""How long a process may take to end by itself [s]."""

GATE = {
    "frame_id": "base",
    "rotation": "axis_angle",
    "control_rate_hz": 20.0,
    "command_rate_hz": 20.0,
    "execution_horizon": 8,
    "chunk_timeout_s": 1.0,
    "max_linear_speed_m_s": 1.0,
    "max_angular_speed_rad_s": 1.0,
    "max_linear_acceleration_m_s2": 1000.0,
    "max_angular_acceleration_rad_s2": 1000.0,
    "max_step_m": 1.0,
    "max_step_rad": 4.0,
    "max_clamped_fraction": 1.0,
    "hold_stop_s": 0.0,
    "hold_recovery_s": 0.0,
    "max_holds_per_minute": 1000,
    "lockstep": True,
    "autostart": True,
}
POLICY = {"bundle": ".", "engine": "ok", "threads": 1, "lockstep": True, "autostart": True}
SIM = {
    "simulator": "libero",
    "suite": "fake_base",
    "tasks": [0, 1],
    "episodes_per_task": 2,
    "camera_size_px": 32,
    "python": "python",
    "policy": "policy_node.yaml",
    "robot": "command_gate.yaml",
    "answer_timeout_s": 20.0,
    "video_every_n_steps": 2,
}
PROGRAMS = {
    "policy_node": "test.node.stub_policy",
    "command_gate": "vla_ros.node.command_gate_node",
    "sim_bridge": "test.sim.fake_simulator",
}


class Fleet:
    """Processes of one test in one folder; leaving the `with` block ends them all."""

    def __init__(self, folder: Path, domain: int) -> None:
        self.folder = folder
        self._environment = {**os.environ, **ros_environment(domain), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_node(self, name: str, parameters: dict[str, Any], program: str = "") -> None:
        """Start policy_node (with the stub) or command_gate, or another program in its place."""
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump({f"/**/{name}": {"ros__parameters": parameters}}))
        self.start(name, "--ros-args", "--params-file", str(file), program=program)

    def start_bridge(self, output: str = "run", **changes: Any) -> Path:
        """Start the bridge with the fake simulator; returns its output folder."""
        (self.folder / "sim.yaml").write_text(yaml.safe_dump({**SIM, **changes}))
        self.start("sim_bridge", "--config", "sim.yaml", "--output", output)
        return self.folder / output

    def start(self, name: str, *arguments: str, program: str = "") -> None:
        """Start a program of this package in the test's folder."""
        with self.log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", program or PROGRAMS[name], *arguments],
                env=self._environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def text(self, name: str) -> str:
        """What the process has written so far."""
        return self.log(name).read_text(errors="replace")

    def wait(self, name: str) -> int:
        """The exit code; negative: ended by that signal."""
        return self._processes[name].wait(LIMIT_S)

    def interrupt(self, name: str, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self._processes[name].send_signal(number)
        return self.wait(name)

    def process(self, name: str) -> "subprocess.Popen[bytes]":
        return self._processes[name]

    def is_alive(self, name: str) -> bool:
        return self._processes[name].poll() is None

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # a killed process leaves its 32 MB of shared memory behind
        for name, process in self._processes.items():
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if error is not None:
                print(f"---- {name}: {process.returncode}\n{self.text(name)}")


class Probe:
    """A ROS node in the test that keeps everything it hears."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = Node("probe", context=self._context)
        self._spinner = SingleThreadedExecutor(context=self._context)
        self._spinner.add_node(self.node)
        self.heard: dict[str, list[Any]] = {}

    def listen(self, topic: str, kind: type, profile: Any = qos.RELIABLE) -> list[Any]:
        """All messages of a topic from now on."""
        messages: list[Any] = []
        self.heard[topic] = messages
        self.node.create_subscription(kind, topic, messages.append, profile)
        return messages

    def states(self, topic: str) -> Callable[[], list[str]]:
        """The texts heard on a latched string topic."""
        messages = self.listen(topic, String, qos.LATCHED)
        return lambda: [message.data for message in messages]

    def until(self, is_true: Callable[[], object], what: str = "") -> None:
        """Spin until it is true."""
        deadline = time.monotonic() + LIMIT_S
        while not is_true():
            assert time.monotonic() < deadline, f"{what} did not happen within {LIMIT_S} s"
            self._spinner.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self._spinner.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()
