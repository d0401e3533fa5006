"""Statuses as rqt and diagnostic_aggregator read them."""

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus

from vla_ros.node.diagnostics import make_status


@pytest.mark.parametrize(
    ("state", "level"),
    [
        ("ACTIVE", DiagnosticStatus.OK),
        ("ARMED: waiting for a chunk", DiagnosticStatus.OK),
        ("RUN", DiagnosticStatus.OK),
        ("HOLD: image: expected a picture: got none", DiagnosticStatus.WARN),
        ("INACTIVE: shut down", DiagnosticStatus.WARN),
        ("UNCONFIGURED", DiagnosticStatus.WARN),
        ("FINALIZED", DiagnosticStatus.WARN),
        ("FAULT: reason", DiagnosticStatus.ERROR),
    ],
)
def test_the_level_follows_the_state(state: str, level: bytes) -> None:
    status = make_status("node", state, "franka", {"epoch": 3, "last refusal": ""})
    assert (status.level, status.name, status.message, status.hardware_id) == (level, "node", state, "franka")
    assert {item.key: item.value for item in status.values} == {"epoch": "3", "last refusal": ""}
