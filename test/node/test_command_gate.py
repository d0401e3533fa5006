"""command_gate as a real process in wall time; the test plays policy, operator and robot."""

import signal
from collections.abc import Callable

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from test.node.fleet import GATE, Fleet, Probe
from vla_ros.action import ActionChunk
from vla_ros.node import qos
from vla_ros.node.messages import ns_from_stamp, trajectory_from_chunk

PERIOD_NS = 50_000_000
ROWS = 8


class Robot:
    """The test's end of command_gate's topics."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.twists = probe.listen("delta_twist_cmds", TwistStamped)
        self.grippers = probe.listen("gripper_command", JointState)
        self.states: Callable[[], list[str]] = probe.states("command_gate/state")
        self.chunks = probe.node.create_publisher(JointTrajectory, "policy_node/action_chunk", qos.RELIABLE)
        self.instructions = probe.node.create_publisher(String, "instruction", qos.LATCHED)
        self.policy_instructions = probe.node.create_publisher(String, "policy_node/instruction", qos.LATCHED)
        self.agreed: Callable[[], list[str]] = probe.states("command_gate/instruction")
        self.stops = probe.node.create_publisher(Bool, "emergency_stop", qos.LATCHED)

    def until_state(self, start: str) -> None:
        self.probe.until(lambda: self.states() and self.states()[-1].startswith(start), start)

    def instruct(self, text: str) -> None:
        """Give an instruction, as operator and as the policy that took it."""
        self.instructions.publish(String(data=text))
        self.policy_instructions.publish(String(data=text))
        self.probe.until(lambda: self.agreed() and self.agreed()[-1] == text, "agreement")

    def run(self) -> None:
        """Get the gate into RUN with a chunk whose row k moves k + 1 mm."""
        self.instruct("go")
        self.chunks.publish(trajectory_from_chunk(make_chunk(self.probe.node.get_clock().now().nanoseconds)))
        self.until_state("RUN")
        self.probe.until(lambda: self.moved(), "motion")

    def moved(self) -> list[int]:
        """Millimetres of every command that moved."""
        return [round(t.twist.linear.x / 20.0 * 1000) for t in self.twists if t.twist.linear.x]


def make_chunk(stamp_ns: int, frame_id: str = "base") -> ActionChunk:
    actions = np.zeros((ROWS, 7), np.float32)
    actions[:, 0] = np.arange(1, ROWS + 1) / 1000
    return ActionChunk(
        actions=actions, stamp_ns=stamp_ns, period_ns=PERIOD_NS, frame_id=frame_id, rotation="axis_angle"
    )


@pytest.fixture
def robot(fleet: Fleet, probe: Probe) -> Robot:
    fleet.start_node("command_gate", {**GATE, "lockstep": False})
    robot = Robot(probe)
    robot.until_state("ARMED: waiting for an instruction")  # and no longer for a subscriber of its commands
    probe.until(lambda: robot.chunks.get_subscription_count() == 1, "discovery")
    return robot


def test_zeros_come_from_the_activation_on(robot: Robot) -> None:
    robot.probe.until(lambda: len(robot.twists) >= 3, "commands")
    assert robot.moved() == []
    assert robot.grippers == []  # nothing was commanded yet, so the gripper is left alone
    assert robot.twists[0].header.frame_id == "base"


def test_no_more_than_the_chunk_is_moved_and_its_end_is_a_hold(robot: Robot) -> None:
    robot.run()
    robot.until_state("HOLD: no chunk for")
    moved_mm = sum(t.twist.linear.x for t in robot.twists) / 20.0 * 1000
    assert 0 < moved_mm <= sum(range(1, ROWS + 1)) + 1e-3
    assert robot.twists[-1].twist.linear.x == 0
    assert list(robot.grippers[-1].name) == ["gripper"]
    stamps = [ns_from_stamp(t.header.stamp) for t in robot.twists]
    assert stamps == sorted(set(stamps))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_shutting_down_in_mid_chunk_delivers_a_stop_first(robot: Robot, fleet: Fleet, number: int) -> None:
    robot.run()
    assert fleet.interrupt("command_gate", number) == 0
    robot.until_state("INACTIVE: shut down")
    robot.probe.until(lambda: robot.twists[-1].twist.linear.x == 0, "a stop")
    assert "Traceback" not in fleet.text("command_gate")


def test_an_emergency_stop_is_latched_until_reset(robot: Robot) -> None:
    robot.run()
    robot.stops.publish(Bool(data=True))
    robot.until_state("FAULT: emergency stop")
    reset = robot.probe.node.create_client(Trigger, "command_gate/reset")
    robot.probe.until(reset.service_is_ready, "the service")
    refused = reset.call_async(Trigger.Request())
    robot.probe.until(refused.done, "an answer")
    assert not refused.result().success
    count = len(robot.twists)
    robot.probe.until(lambda: len(robot.twists) >= count + 3, "zeros, which continue in FAULT")
    assert all(t.twist.linear.x == 0 for t in robot.twists[count + 1 :])
    robot.stops.publish(Bool(data=False))
    robot.probe.until(lambda: (granted := call(robot, reset)) and granted.success, "the reset")
    robot.until_state("ARMED: reset by the operator")
    robot.probe.until(lambda: robot.agreed()[-1] == "", "the news that no instruction is in force")


@pytest.mark.parametrize("profile", [qos.RELIABLE, qos.BEST_EFFORT])
def test_an_emergency_stop_counts_whatever_the_quality_of_service_of_its_publisher(
    robot: Robot, profile: QoSProfile
) -> None:
    robot.run()
    stops = robot.probe.node.create_publisher(Bool, "emergency_stop", profile)

    def is_stopped() -> bool:
        stops.publish(Bool(data=True))  # again and again: the gate may not know of it yet
        return robot.states()[-1].startswith("FAULT: emergency stop")

    robot.probe.until(is_stopped, "the stop")


def test_a_second_publisher_of_commands_is_a_fault(robot: Robot) -> None:
    robot.run()
    robot.probe.node.create_publisher(TwistStamped, "delta_twist_cmds", qos.RELIABLE)
    robot.until_state("FAULT: /delta_twist_cmds: expected one publisher, this gate, got 2")


def test_chunks_run_only_while_the_policy_has_the_gates_instruction(robot: Robot) -> None:
    robot.instructions.publish(String(data="go"))
    robot.policy_instructions.publish(String(data="something else"))
    robot.until_state("ARMED: new instruction")
    for _ in range(5):
        count = len(robot.twists)
        robot.chunks.publish(trajectory_from_chunk(make_chunk(robot.probe.node.get_clock().now().nanoseconds)))
        robot.probe.until(lambda count=count: len(robot.twists) > count, "a command")
    assert robot.moved() == []


def call(robot: Robot, client: object) -> Trigger.Response:
    future = client.call_async(Trigger.Request())  # type: ignore[attr-defined]
    robot.probe.until(future.done, "an answer")
    return future.result()


UNFIT = {
    "frame_id: expected 'base', got 'world'": ("header.frame_id", "world"),
    "joint_names: expected ['x', 'y', 'z', 'rx', 'ry', 'rz', 'gripper'] or": ("joint_names", ["a"] * 7),
    "rotation: expected 'axis_angle', got 'euler_xyz'": ("joint_names", [*"xyz", "roll", "pitch", "yaw", "gripper"]),
    "actions[3].x: expected a finite number, got nan": ("points[3].positions", [np.nan] * 7),
    "actions[2].rz: expected a finite number, got inf": ("points[2].positions", [0.0] * 5 + [1e300, 0.0]),
    "points[3].positions: expected 7, got 6": ("points[3].positions", [0.0] * 6),
    "points[2].time_from_start: expected 2e-09 s, got 0.1 s": ("points[1].time_from_start.nanosec", 1),
    "expected [n > 0, 7], got [0, 7]": ("points", []),
}


def test_a_chunk_that_does_not_fit_is_refused_whole(robot: Robot, fleet: Fleet) -> None:
    robot.instruct("go")
    for line, (path, value) in UNFIT.items():
        message = trajectory_from_chunk(make_chunk(robot.probe.node.get_clock().now().nanoseconds))
        set_path(message, path, value)
        robot.chunks.publish(message)
        robot.probe.until(lambda line=line: line in fleet.text("command_gate"), line)
    assert robot.moved() == []


def set_path(message: object, path: str, value: object) -> None:
    *parents, last = path.replace("[", ".").replace("]", "").split(".")
    for name in parents:
        message = message[int(name)] if name.isdigit() else getattr(message, name)  # type: ignore[index]
    setattr(message, last, value)


def test_parameters_are_fixed_once_the_node_is_configured(robot: Robot) -> None:
    client = robot.probe.node.create_client(SetParameters, "command_gate/set_parameters")
    robot.probe.until(client.service_is_ready, "the service")
    for name, value in (("max_linear_speed_m_s", 99.0), ("autostart", False)):
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        future = client.call_async(request)
        robot.probe.until(future.done, "an answer")
        (result,) = future.result().results
        assert not result.successful
        assert result.reason


def test_a_misspelt_parameter_is_one_clear_line(fleet: Fleet) -> None:
    fleet.start_node("command_gate", {**GATE, "chunk_timeout": 1.0})
    assert fleet.wait("command_gate") == 2
    (line,) = fleet.text("command_gate").splitlines()
    file = fleet.folder / "command_gate.yaml"
    assert line.startswith(f"{file}: chunk_timeout: expected one of cpu_affinity, thread_priority, nice, trace, ")


def test_an_integer_serves_where_a_number_is_meant(fleet: Fleet, probe: Probe) -> None:
    fleet.start_node("command_gate", {**GATE, "control_rate_hz": 20, "max_linear_speed_m_s": 1})
    states = probe.states("command_gate/state")
    probe.until(lambda: any(text.startswith("ARMED") for text in states()), "activation")


def test_the_gate_never_imports_a_learning_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, vla_ros.node.command_gate_node;"
        "print({'torch', 'onnxruntime', 'tokenizers', 'transformers'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_a_press_counts_however_soon_the_release_follows(robot: Robot) -> None:
    robot.run()
    for _ in range(20):
        robot.stops.publish(Bool(data=True))
        robot.stops.publish(Bool(data=False))
    robot.until_state("FAULT: emergency stop")


def test_a_fault_outlives_deactivation_until_it_is_reset(robot: Robot) -> None:
    robot.run()
    robot.stops.publish(Bool(data=True))
    robot.until_state("FAULT: emergency stop")
    robot.stops.publish(Bool(data=False))
    change = robot.probe.node.create_client(ChangeState, "command_gate/change_state")
    robot.probe.until(change.service_is_ready, "the service")
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        changed = change.call_async(ChangeState.Request(transition=Transition(id=transition)))
        robot.probe.until(changed.done, "the transition")
        assert changed.result().success
    robot.until_state("FAULT: emergency stop")
    count = len(robot.twists)
    robot.chunks.publish(trajectory_from_chunk(make_chunk(robot.probe.node.get_clock().now().nanoseconds)))
    robot.probe.until(lambda: len(robot.twists) >= count + 5, "zeros")
    assert all(t.twist.linear.x == 0 for t in robot.twists[count:])
