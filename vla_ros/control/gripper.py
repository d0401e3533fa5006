"""Hysteresis of the gripper: one row that wavers neither drops nor crushes anything."""

from dataclasses import replace

from vla_ros.control.gate_config import GateConfig
from vla_ros.control.gate_state import GateState

HALF_OPEN = 0.5


def after_vote(config: GateConfig, state: GateState, wanted: float) -> GateState:
    """The state with the gripper that a tick's row wants, once enough rows in succession agree.

    Args:
        wanted: opening, from 0 to 1. From one side of a half to the other it takes agreement; within a side it follows.
    """
    if state.gripper is None or (wanted >= HALF_OPEN) == (state.gripper >= HALF_OPEN):
        return replace(state, gripper=wanted, gripper_votes=0)
    votes = state.gripper_votes + 1
    if votes > (config.gripper_agreeing_samples - 1) * config.ticks_per_row:
        return replace(state, gripper=wanted, gripper_votes=0)
    return replace(state, gripper_votes=votes)
