"""The hazard table over real ROS 2: whatever happens, the arm stops in time, and goes on once the cause is gone."""

import pytest

pytest.importorskip("rclpy")

from test.faults.injections import FAULTS
from test.faults.running_cell import RunningCell
from test.node.fleet import Fleet, Probe


@pytest.mark.parametrize("fault", FAULTS)
def test_the_arm_stops_in_time_and_goes_on_once_the_cause_is_gone(fault: str, fleet: Fleet, probe: Probe) -> None:
    cell = RunningCell(fleet, probe)
    for _ in range(2):
        cell.until_running()
        outcome = FAULTS[fault](cell)
        assert outcome.is_good, (
            f"{fault}: moved for {outcome.moved_ns / 1e6:.0f} ms, {outcome.bound_ns / 1e6:.0f} allowed"
        )
    cell.until_running()
