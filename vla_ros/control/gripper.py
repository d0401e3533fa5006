"""Hysteresis of the gripper: one row that wavers neither drops nor crushes anything."""

from vla_ros.control.gate_config import GateConfig
from vla_ros.control.gate_state import GateState

HALF_OPEN = 0.5


def voted(config: GateConfig, state: GateState, wanted: float) -> tuple[float, int]:
    """The gripper that a tick's row wants, once enough rows in succession agree; until then, the last one commanded.

    Args:
        wanted: opening, from 0 to 1. From one side of a half to the other it takes agreement; within a side it follows.

    Returns:
        The opening to command, and how many ticks in succession have wanted the other state by now.
    """
    if state.gripper is None or (wanted >= HALF_OPEN) == (state.gripper >= HALF_OPEN):
        return wanted, 0
    votes = state.gripper_votes + 1
    needed = config.gripper_samples_to_open if wanted >= HALF_OPEN else config.gripper_samples_to_close
    if votes > (needed - 1) * config.ticks_per_row:
        return wanted, 0
    return state.gripper, votes
