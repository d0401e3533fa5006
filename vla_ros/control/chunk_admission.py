"""Which chunks may run: of this robot's actions, from after the last stop, for the instruction in force."""

from dataclasses import replace

from vla_ros.action import ActionChunk
from vla_ros.control.chunk_scheduler import Schedule
from vla_ros.control.gate_config import GateConfig
from vla_ros.control.gate_state import GateState, Mode
from vla_ros.control.stops import stopped
from vla_ros.observation import MAX_FUTURE_NS


def admit(config: GateConfig, state: GateState, now_ns: int, chunk: ActionChunk) -> GateState:
    """The state with the chunk next in execution, or with it refused or dropped, and counted."""
    complaint = _complaint(config, now_ns, chunk)
    if complaint:
        return state.refused(f"chunk: {complaint}")
    reason = _too_late(state, chunk)
    if reason:
        return state.counted(f"dropped: {reason}")
    chunk, clamped = config.steps.clamp(chunk)
    if clamped:
        state = state.counted("steps clamped", clamped)
    if config.steps.is_fault(clamped, len(chunk)):
        why = f"chunk: {clamped} of {len(chunk)} rows beyond max_step_m or max_step_rad; mend it, then call ~/reset"
        return stopped(state, now_ns, Mode.FAULT, why)
    if state.mode is Mode.HOLD:
        state = _recovering(config, state, now_ns)
        since_ns, _ = state.recovering_ns or (now_ns, now_ns)
        if now_ns - since_ns < config.hold.min_recovery_ns:
            return state.counted("dropped: recovering from a hold")
    return replace(state, schedule=Schedule(chunk=chunk), last_refusal="")


def _complaint(config: GateConfig, now_ns: int, chunk: ActionChunk) -> str:
    """What is wrong with a chunk, whatever the gate is doing."""
    space = config.action_space
    if chunk.frame_id != space.frame_id:
        return f"frame_id: expected {space.frame_id!r}, got {chunk.frame_id!r}"
    if chunk.rotation != space.rotation:
        return f"rotation: expected {space.rotation!r}, got {chunk.rotation!r}"
    if chunk.period_ns != space.period_ns:
        return f"time_from_start: expected steps of {space.period_ns / 1e9} s, got {chunk.period_ns / 1e9} s"
    ahead_s = (chunk.stamp_ns - now_ns) / 1e9
    if chunk.stamp_ns - now_ns > MAX_FUTURE_NS:
        return f"header.stamp: expected <= {MAX_FUTURE_NS / 1e9} s ahead, got {ahead_s:.3f} s"
    return ""


def _too_late(state: GateState, chunk: ActionChunk) -> str:
    """Why a chunk in good order does not run: it is late, or not the time for it; no fault of anyone."""
    if state.mode is Mode.FAULT:
        return "in FAULT"
    if state.obstruction:
        return state.obstruction
    if state.instruction is None:
        return "no instruction"
    if state.policy_instruction != state.instruction:
        return "policy_node has another instruction"
    if chunk.stamp_ns <= state.newer_than_ns:
        return "older than the last stop"
    if not state.schedule.is_newer(chunk):
        return "out of order"
    return ""


def _recovering(config: GateConfig, state: GateState, now_ns: int) -> GateState:
    """With one more acceptable chunk in HOLD; a pause between them begins the wait anew."""
    since_ns, last_ns = state.recovering_ns or (now_ns, now_ns)
    if now_ns - last_ns > config.chunk_timeout_ns:
        since_ns = now_ns
    return replace(state, recovering_ns=(since_ns, now_ns))
