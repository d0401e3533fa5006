"""What a policy's latency does to a reach, by what becomes of late steps: the real gate, an arm of one dimension.

The policy sees where the arm is and wants it at the goal; its chunk arrives `latency` later, and only then it looks
again. The arm moves at each tick's commanded speed. Nothing is random.
"""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ActionChunk, ActionSpace
from vla_ros.control.chunk_scheduler import LateSteps
from vla_ros.control.gate_config import GateConfig, HoldRules
from vla_ros.control.gate_state import GateState, Inbox
from vla_ros.control.limits import MotionLimits, StepLimits
from vla_ros.control.safety_gate import step

RATE_HZ, CHUNK_SIZE, TICKS = 20.0, 8, 100
GOAL_M, MOST_M_S, GAIN_1_S = 0.3, 0.25, 4.0
"""The policy's law: towards the goal in proportion to the distance, at 250 mm/s at most."""
LIMIT_M_S = 0.5
"""The gate's, with room to make up for what is late."""
CLOSE_M = 0.005
MODES: tuple[LateSteps, ...] = get_args(LateSteps)

_SPACE = ActionSpace(frame_id="base", rotation="axis_angle", control_rate_hz=RATE_HZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """One reach.

    Attributes:
        mode: what became of late steps.
        latency: of the policy [ticks].
        positions_m: float64 [TICKS + 1], at the beginning of each tick.
    """

    mode: LateSteps
    latency: int
    positions_m: NDArray[np.float64]

    @property
    def latency_ms(self) -> float:
        """Of the policy."""
        return self.latency / RATE_HZ * 1e3

    @property
    def overshoot_mm(self) -> float:
        """How far beyond the goal the arm was at most."""
        return max(0.0, float(self.positions_m.max() - GOAL_M) * 1e3)

    @property
    def arrival_s(self) -> float:
        """From the first motion until the arm stays within CLOSE_M of the goal; infinity if it does not."""
        away = np.flatnonzero(np.abs(self.positions_m - GOAL_M) > CLOSE_M)
        return float("inf") if away[-1] == TICKS else float(away[-1] + 1 - self._first) / RATE_HZ

    @property
    def _first(self) -> int:
        """The tick that first moved the arm."""
        return int(np.flatnonzero(np.diff(self.positions_m))[0])


def reach(mode: LateSteps, latency: int) -> Reach:
    """Reach for the goal with a policy that is `latency` ticks late."""
    config = GateConfig(
        action_space=_SPACE,
        execution_horizon=CHUNK_SIZE,
        chunk_timeout_ns=10**9,
        motion=MotionLimits(
            max_linear_speed_m_s=LIMIT_M_S,
            max_angular_speed_rad_s=1.0,
            max_linear_acceleration_m_s2=1000.0,  # none: what is compared are the rules for late steps alone
            max_angular_acceleration_rad_s2=1000.0,
        ),
        steps=StepLimits(max_step_m=1.0, max_step_rad=1.0, max_clamped_fraction=1.0),
        hold=HoldRules(stop_ticks=0, min_recovery_ns=0, max_per_minute=TICKS),
        late_steps=mode,
    )
    state, _ = step(config, GateState(), 0, Inbox(instruction="reach", policy_instruction="reach"))
    positions, seen = [0.0], 0
    for tick in range(TICKS):
        chunks: tuple[ActionChunk, ...] = ()
        if tick == seen + latency:
            chunks = (plan(seen, positions[seen]),)
        state, command = step(config, state, _stamp(tick), Inbox(chunks=chunks))
        positions.append(positions[-1] + float(command.delta[0]))
        if tick == seen + latency:
            seen = tick + 1
    return Reach(mode=mode, latency=latency, positions_m=np.array(positions))


def plan(tick: int, position_m: float) -> ActionChunk:
    """The policy's chunk for what it sees at a tick."""
    actions = np.zeros((CHUNK_SIZE, 7), np.float32)
    for row in range(CHUNK_SIZE):
        speed = np.clip(GAIN_1_S * (GOAL_M - position_m), -MOST_M_S, MOST_M_S)
        actions[row, 0] = speed / RATE_HZ
        position_m += float(actions[row, 0])
    period = _SPACE.period_ns
    return ActionChunk(actions=actions, stamp_ns=_stamp(tick), period_ns=period, frame_id="base", rotation="axis_angle")


def _stamp(tick: int) -> int:
    return (tick + 1) * _SPACE.period_ns


def compare() -> list[Reach]:
    """Every mode at every latency that is shorter than a chunk."""
    return [reach(mode, latency) for latency in range(CHUNK_SIZE) for mode in MODES]
