"""BridgeData V2 (arXiv 2308.12952) as VLM4VLA trains on it, in whichever format it comes.

The first step, whose action is zero, is left out. The arm's action is what it did until the next step,
state[t+1] - state[t] with angles wrapped, so that the last step has none. The gripper (1 open) is decided: above 0.95
open, below 0.05 closed, and between these what comes next; a trajectory that ends undecided takes the nearer one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ARM_DIM
from vla_ros.data.checks import MIN_STEPS, check_finite
from vla_ros.errors import DatasetError

GRIPPER_OPEN_ABOVE = 0.95
GRIPPER_CLOSED_BELOW = 0.05


def relabelled_actions(actions: NDArray[Any], states: NDArray[Any], where: str) -> NDArray[np.float32]:
    """Bridge's actions relabelled; [T, 7] and [T, 7] to float32 [T - 2, 7] for steps 1 to T - 2.

    Raises:
        DatasetError: there are fewer than four steps, or a number is not finite.
    """
    least = MIN_STEPS + 2
    if len(actions) < least:
        raise DatasetError(f"{where}: expected at least {least} steps, got {len(actions)}")
    check_finite(actions, f"{where}.action")
    check_finite(states, f"{where}.observation.state")
    moved = np.diff(states[1:, :ARM_DIM], axis=0)
    moved[:, 3:] = (moved[:, 3:] + np.pi) % (2 * np.pi) - np.pi
    gripper = decided_gripper(actions[1:, ARM_DIM])[:-1]
    return np.concatenate([moved, gripper[:, None]], axis=1).astype(np.float32)


def decided_gripper(values: NDArray[Any]) -> NDArray[np.float32]:
    """Openings [T] as 1 (open) or 0 (closed); what is neither is on its way to the next that is."""
    decided = np.where(values > GRIPPER_OPEN_ABOVE, 1.0, np.where(values < GRIPPER_CLOSED_BELOW, 0.0, np.nan))
    following = float(values[-1] > 0.5)
    for step in reversed(range(len(decided))):
        following = following if np.isnan(decided[step]) else float(decided[step])
        decided[step] = following
    return decided.astype(np.float32)
