"""Leaving RUN: nothing of what was in execution ever runs again, and why is written down."""

from dataclasses import replace

from vla_ros.control.chunk_scheduler import Schedule
from vla_ros.control.gate_config import GateConfig
from vla_ros.control.gate_state import GateState, Mode, RunExit
from vla_ros.observation import MAX_FUTURE_NS

MINUTE_NS = 60_000_000_000


def stopped(state: GateState, now_ns: int, mode: Mode, reason: str) -> GateState:
    """Leave the chunk for good; FAULT is latched and keeps its first reason."""
    if state.mode is Mode.FAULT and mode is not Mode.FAULT:
        mode, reason = state.mode, state.reason
    if state.mode is Mode.RUN:
        state = replace(state, last_exit=_snapshot(state, now_ns, mode, reason))
    state = replace(forgotten(state, now_ns), mode=mode, reason=reason, epoch=state.epoch + 1)
    return replace(state, recovering_ns=None)


def held(config: GateConfig, state: GateState, now_ns: int, reason: str) -> GateState:
    """Held; too many holds within a minute are a fault."""
    if state.mode is not Mode.RUN:  # nothing moved since the last one
        return stopped(state, now_ns, Mode.HOLD, reason)
    recent = (*(hold_ns for hold_ns in state.holds_ns if now_ns - hold_ns < MINUTE_NS), now_ns)
    state = replace(state, holds_ns=recent)
    if len(recent) <= config.hold.max_per_minute:
        return stopped(state, now_ns, Mode.HOLD, reason)
    why = f"held {len(recent)} times within a minute, the last time: {reason}; mend it, then call ~/reset"
    return stopped(state, now_ns, Mode.FAULT, why)


def forgotten(state: GateState, now_ns: int) -> GateState:
    """Without its chunk, which never runs again: not if the camera's clock is a little ahead either."""
    running_ns = state.schedule.chunk.stamp_ns if state.schedule.chunk is not None else now_ns
    # what is further ahead is from before the clock went back
    stamps = [stamp for stamp in (running_ns, state.newer_than_ns) if stamp - now_ns <= MAX_FUTURE_NS]
    return replace(state, newer_than_ns=max([now_ns, *stamps]), schedule=Schedule(), predictions=(), gripper_votes=0)


def _snapshot(state: GateState, now_ns: int, mode: Mode, reason: str) -> RunExit:
    schedule = state.schedule
    return RunExit(
        time_ns=now_ns,
        mode=mode,
        reason=reason,
        instruction=state.instruction,
        chunk_stamp_ns=None if schedule.chunk is None else schedule.chunk.stamp_ns,
        done_ns=schedule.done_ns,
        owed=schedule.owed,
        last_delta=state.last_delta,
        counts=state.counts,
    )
