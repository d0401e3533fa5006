"""Where command_gate learns where the end effector is, as a real process; the test plays policy, operator and arm."""

from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from rclpy.qos import QoSProfile

from test.node.cell import FRAMES, Arm, Cell
from test.node.fleet import Fleet, Probe
from vla_ros.node import qos

MEASURED = {**FRAMES, "pose_source": "topic", "workspace_min_m": [-10.0, -10.0, -10.0]}


@pytest.mark.parametrize("profile", [qos.BEST_EFFORT, qos.RELIABLE], ids=["best effort", "reliable"])
def test_nothing_moves_before_the_pose_is_known_and_a_silent_source_is_a_hold(
    fleet: Fleet, probe: Probe, profile: QoSProfile
) -> None:
    twists = probe.listen("delta_twist_cmds", TwistStamped)
    cell = Cell(fleet, probe, **MEASURED)
    cell.until_state("ARMED: waiting for the end effector's pose")
    cell.instruct()
    cell.send_chunk()
    arm = Arm(probe, profile)
    cell.until_state("ARMED: waiting for a chunk")
    assert not any(twist.twist.linear.x for twist in twists)
    cell.send_chunk()
    cell.until_state("RUN")
    arm.is_silent = True
    cell.until_state("HOLD: no pose of the end effector for 0.2 s")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("frame_id", "camera", "header.frame_id: expected 'base', the base_frame_id, got 'camera'"),
        ("age_ns", 1_000_000_000, "header.stamp: expected an age <= 0.2 s, got 1.0"),
        ("age_ns", -1_000_000_000, "header.stamp: expected <= 0.05 s ahead, got "),
        ("position_m", [0.0, np.nan, 0.0], "pose: expected finite numbers and a unit quaternion, got pose: position_m"),
        (
            "quaternion_xyzw",
            [0.0] * 4,
            "pose: expected finite numbers and a unit quaternion, got pose: quaternion_xyzw",
        ),
    ],
)
def test_a_pose_that_cannot_be_trusted_is_refused_and_counted(
    fleet: Fleet, probe: Probe, name: str, value: Any, line: str
) -> None:
    probe.listen("delta_twist_cmds", TwistStamped)
    diagnostics = probe.listen("/diagnostics", DiagnosticArray)
    setattr(Arm(probe), name, value)
    cell = Cell(fleet, probe, **MEASURED)
    cell.until_state("ARMED: waiting for the end effector's pose")
    probe.until(lambda: f"refused: end_effector_pose: {line}" in fleet.text("command_gate"), line)
    probe.until(lambda: refused(diagnostics) > 1, "a count that grows")
    assert cell.states()[-1] == "ARMED: waiting for the end effector's pose"


def refused(diagnostics: list[DiagnosticArray]) -> int:
    """Poses refused so far, for whatever reason."""
    values = diagnostics[-1].status[0].values if diagnostics else []
    return sum(int(value.value) for value in values if value.key.startswith("pose refused: "))
