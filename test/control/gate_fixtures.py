"""A gate at 10 Hz and chunks whose rows say which row they are."""

import numpy as np

from vla_ros.action import ActionChunk, ActionSpace, Rotation
from vla_ros.control.gate_config import GateConfig, HoldRules
from vla_ros.control.gate_state import GateState, Inbox
from vla_ros.control.limits import MotionLimits, StepLimits
from vla_ros.control.safety_gate import step

MS = 1_000_000
PERIOD_NS = 100 * MS
SPACE = ActionSpace(frame_id="base", rotation="axis_angle", control_rate_hz=10.0)


def make_motion(
    linear: float = 10.0, angular: float = 10.0, linear_acceleration: float = 1e4, angular_acceleration: float = 1e4
) -> MotionLimits:
    """Limits in m and rad; without any, all are so wide that they limit nothing."""
    return MotionLimits(
        max_linear_speed_m_s=linear,
        max_angular_speed_rad_s=angular,
        max_linear_acceleration_m_s2=linear_acceleration,
        max_angular_acceleration_rad_s2=angular_acceleration,
    )


CONFIG = GateConfig(
    action_space=SPACE,
    execution_horizon=4,
    chunk_timeout_ns=300 * MS,
    motion=make_motion(),
    steps=StepLimits(max_step_m=1.0, max_step_rad=4.0, max_clamped_fraction=1.0),
    hold=HoldRules(stop_ticks=0, min_recovery_ns=0, max_per_minute=1000),
)


def make_chunk(
    stamp_ns: int,
    rows: int = 4,
    x0_m: float = 0.01,
    slope_m: float = 0.01,
    frame_id: str = "base",
    rotation: Rotation = "axis_angle",
) -> ActionChunk:
    """Row k moves x by x0 + k times the slope, gripper open at even rows."""
    actions = np.zeros((rows, 7), np.float32)
    actions[:, 0] = x0_m + slope_m * np.arange(rows)
    actions[:, 6] = [float(k % 2 == 0) for k in range(rows)]
    return ActionChunk(actions=actions, stamp_ns=stamp_ns, period_ns=PERIOD_NS, frame_id=frame_id, rotation=rotation)


def make_running(now_ns: int = 1000 * MS, instruction: str = "go") -> GateState:
    """A gate that has an instruction and executed the first row of a chunk stamped now."""
    state, _ = step(
        CONFIG, GateState(), now_ns - PERIOD_NS, Inbox(instruction=instruction, policy_instruction=instruction)
    )
    state, _ = step(CONFIG, state, now_ns, Inbox(chunks=(make_chunk(now_ns),)))
    return state
