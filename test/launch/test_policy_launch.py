"""policy.launch.py with real launch: both nodes come up, under their namespace and with their topics renamed."""

import time
import unittest
from pathlib import Path

import pytest

# not "launch": the checkout's own folder of that name would be found
pytest.importorskip("launch_ros")
pytest.importorskip("launch_testing")

import launch_testing.actions
import launch_testing.asserts
import launch_testing.markers
import rclpy
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import String

from vla_ros.evaluation.domain import reserved_domain
from vla_ros.node import qos

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60.0

RESERVATION = reserved_domain()
DOMAIN = RESERVATION.__enter__()  # until the process ends


@pytest.mark.launch_test
@pytest.mark.launch
@launch_testing.markers.keep_alive
def generate_test_description() -> LaunchDescription:
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(ROOT / "launch/policy.launch.py")),
        launch_arguments={
            "policy": str(ROOT / "config/node/libero_object_ten.yaml"),
            "robot": str(ROOT / "config/robot/libero.yaml"),
            "bundle": str(ROOT / "models/libero-object-ten"),
            "instruction": "/what_to_do",
            "namespace": "arm",
        }.items(),
    )
    isolation = SetEnvironmentVariable("ROS_DOMAIN_ID", str(DOMAIN))
    return LaunchDescription([isolation, nodes, launch_testing.actions.ReadyToTest()])


class TestTheNodesAreUp(unittest.TestCase):
    def setUp(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node("observer", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def tearDown(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def wait_for(self, topic: str, text: str) -> None:
        heard: list[str] = []
        self.node.create_subscription(String, topic, lambda message: heard.append(message.data), qos.LATCHED)
        deadline = time.monotonic() + TIMEOUT_S
        while not any(text in line for line in heard):
            self.assertLess(time.monotonic(), deadline, f"{topic}: expected {text!r}, got {heard}")
            self.executor.spin_once(timeout_sec=0.1)

    def test_both_nodes_activate_themselves(self) -> None:
        self.wait_for("/arm/policy_node/state", "ACTIVE")
        self.wait_for("/arm/command_gate/state", "ARMED")

    def test_the_renamed_instruction_reaches_both(self) -> None:
        self.wait_for("/arm/policy_node/state", "ACTIVE")
        text = "pick up the alphabet soup and place it in the basket"
        self.node.create_publisher(String, "/what_to_do", qos.LATCHED).publish(String(data=text))
        self.wait_for("/arm/policy_node/instruction", text)
        self.wait_for("/arm/command_gate/instruction", text)


@launch_testing.post_shutdown_test()
class TestTheNodesEnded(unittest.TestCase):
    def test_cleanly(self, proc_info: launch_testing.ProcInfoHandler) -> None:
        launch_testing.asserts.assertExitCodes(proc_info)
