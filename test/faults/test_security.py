"""Where security is asked for and the middleware has none, a node does not start without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("node", ["policy_node", "command_gate_node"])
def test_a_node_that_cannot_be_secured_does_not_start(node: str, tmp_path: Path) -> None:
    (tmp_path / "enclaves" / "vla_ros").mkdir(parents=True)
    security = {
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": "Enforce",
        "ROS_SECURITY_KEYSTORE": str(tmp_path),
    }
    parameters = ROOT / "config" / ("node/libero_object_ten.yaml" if node == "policy_node" else "robot/libero.yaml")
    arguments = ["--ros-args", "--enclave", "/vla_ros", "--params-file", str(parameters)]
    ended = subprocess.run(
        [sys.executable, "-m", f"vla_ros.node.{node}", *arguments],
        env={**os.environ, **security, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "security" in ended.stderr
    assert "Traceback" not in ended.stderr
