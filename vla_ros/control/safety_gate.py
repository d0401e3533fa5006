"""The gate between a policy and a robot: a pure state machine, `step(config, state, now, inbox) -> (state, command)`.

Nothing here knows ROS, a clock or a thread; the node hands in the time and what arrived since the last tick.
"""

from dataclasses import replace

from vla_ros.action import Command
from vla_ros.control.chunk_admission import admit
from vla_ros.control.chunk_scheduler import Due, Schedule
from vla_ros.control.displacement import NONE, Displacement
from vla_ros.control.displacement_ledger import DisplacementLedger
from vla_ros.control.gate_config import GateConfig
from vla_ros.control.gate_state import NEVER_NS, NO_INSTRUCTION, GateState, Inbox, Mode
from vla_ros.control.gripper import voted
from vla_ros.control.pose import Pose
from vla_ros.control.stops import forgotten, held, stopped
from vla_ros.control.temporal_ensemble import Prediction, ensemble
from vla_ros.errors import ObservationError
from vla_ros.processing.instruction import check_instruction


def step(config: GateConfig, state: GateState, now_ns: int, inbox: Inbox) -> tuple[GateState, Command]:
    """One tick: take in what arrived, put out exactly one command."""
    return advance(config, receive(config, state, now_ns, inbox), now_ns)


def receive(config: GateConfig, state: GateState, now_ns: int, inbox: Inbox) -> GateState:
    """Take in what arrived; nothing moves yet. The order makes every stop win over every chunk."""
    if now_ns < state.now_ns:
        state = _clock_went_back(config, state, now_ns)
    if inbox.reset:
        state = _reset(state, now_ns)
    if inbox.emergency_stop is not None:
        state = _emergency(state, now_ns, inbox.emergency_stop)
    if inbox.fault and state.mode is not Mode.FAULT:  # the first one stays the reason
        state = stopped(state, now_ns, Mode.FAULT, f"{inbox.fault}; mend it, then call ~/reset")
    if inbox.pose is not None:
        state = _located(config, state, now_ns, inbox.pose, inbox.pose_stamp_ns)
    if inbox.blocked is not None:
        state = replace(state, blocked=inbox.blocked)
    if inbox.instruction is not None:
        state = _instruct(state, now_ns, inbox.instruction)
    if inbox.policy_instruction is not None and inbox.policy_instruction != state.policy_instruction:
        state = _policy_instructed(config, state, now_ns, inbox.policy_instruction)
    state = _obstructed(config, state, now_ns)
    for reason in inbox.refused:
        state = state.refused(reason)
    for chunk in inbox.chunks:
        state = admit(config, state, now_ns, chunk)
    if inbox.timed_out:
        state = held(config, state, now_ns, _starved(state, config.chunk_timeout_ns))
    return state


def restarted(state: GateState, now_ns: int) -> GateState:
    """The state after a simulator was reset to an earlier time: nothing from before runs; a FAULT stays.

    Nobody knows how its gripper stands now, so it is left alone until a chunk says what is wanted.
    """
    state = replace(state, now_ns=now_ns, newer_than_ns=NEVER_NS, ledger=DisplacementLedger(), schedule=Schedule())
    state = replace(state, holds_ns=(), last_delta=NONE, gripper=None)
    return stopped(state, now_ns - 1, Mode.ARMED, "the simulator was reset")


def has_due_row(config: GateConfig, state: GateState, now_ns: int) -> bool:
    """Whether `advance` would execute a row now."""
    return state.mode is not Mode.FAULT and _due(config, _started(config, state, now_ns), now_ns) is not None


def advance(config: GateConfig, state: GateState, now_ns: int) -> tuple[GateState, Command]:
    """Execute what is due now; where nothing is, come to a stand and stay there."""
    pause_ns, state = now_ns - state.now_ns, replace(state, now_ns=now_ns)
    state = _started(config, _obstructed(config, state, now_ns), now_ns)
    due = None if state.mode is Mode.FAULT else _due(config, state, now_ns)
    if due is not None and state.mode is Mode.RUN and pause_ns > config.longest_pause_ns:
        why = f"no tick for {pause_ns / 1e9:.2f} s: the clock jumped, or the process stood still"
        state, due = held(config, state, now_ns, why), None
    if due is None:
        return _rested(config, state, now_ns)
    delta, limited_by = _limited(config, state, due)
    rows = config.executed_rows(len(state.schedule.chunk or ()))
    gripper, votes = voted(config, state, due.gripper)
    state = replace(
        state,
        mode=Mode.RUN,
        reason="",
        schedule=state.schedule.after(due, delta, config.late_steps),
        ledger=state.ledger.after(now_ns, delta, keep_ns=_ledger_ns(config, rows)),
        last_row_ns=now_ns,
        last_delta=delta,
        stopping_ticks=0,
        gripper=gripper,
        gripper_votes=votes,
        pose=_moved(config, state.pose, delta),
    )
    for name in limited_by:
        state = state.counted(name)
    return state, Command(delta=delta, gripper=gripper)


def _ledger_ns(config: GateConfig, rows: int) -> int:
    """How far back the ledger is asked: from a late chunk, or by a measured pose [ns]."""
    pose_ns = config.pose.timeout_ns or 0 if config.pose is not None else 0
    return max((rows + 2) * config.action_space.period_ns, pose_ns + config.tick_ns)


def _started(config: GateConfig, state: GateState, now_ns: int) -> GateState:
    """With the chunk's first row given its time, if this tick is its first one."""
    chunk = state.schedule.chunk
    if chunk is None or state.schedule.start_ns is not None:
        return state
    rows = config.executed_rows(len(chunk))
    schedule = state.schedule.started(now_ns, rows, config.late_steps, state.ledger, config.tick_ns)
    if config.overlap == "replace" or schedule.start_ns is None:
        return replace(state, schedule=schedule)
    newest = Prediction(chunk=chunk, start_ns=schedule.start_ns)
    former = tuple(p for p in state.predictions if p.last_row_ns >= newest.start_ns)
    averaged = ensemble(newest, former, config.temporal_ensemble_coeff)
    return replace(state, schedule=replace(schedule, chunk=averaged), predictions=(*former, newest))


def _due(config: GateConfig, state: GateState, now_ns: int) -> Due | None:
    rows = config.executed_rows(len(state.schedule.chunk or ()))
    return state.schedule.due(now_ns, rows, config.late_steps, config.tick_ns)


def _limited(config: GateConfig, state: GateState, due: Due) -> tuple[Displacement, list[str]]:
    """What may be commanded of what is due, and which limits took something off."""
    wanted = due.with_owed(config.motion.catching_up(due.owed, config.tick_s))
    # at a chunk's end the tick is cut short, and so is what may still be made up for in it
    delta, is_clamped = config.motion.clamp(wanted, state.last_delta, config.tick_s, due.lasts_ns / 1e9)
    delta, is_at_wall = _within_walls(config, state, delta)
    return delta, ["clamped"] * is_clamped + ["clamped by the workspace"] * is_at_wall


def _within_walls(config: GateConfig, state: GateState, delta: Displacement) -> tuple[Displacement, bool]:
    if config.workspace is None or config.pose is None:
        return delta, False
    assert state.pose is not None  # without one nothing is due: _obstructed
    acceleration, is_in_tool_frame = config.motion.max_linear_acceleration_m_s2, config.pose.is_in_tool_frame
    return config.workspace.clamp(delta, state.pose, acceleration, config.tick_s, is_in_tool_frame=is_in_tool_frame)


def _moved(config: GateConfig, pose: Pose | None, delta: Displacement) -> Pose | None:
    """Where a command leads, if anyone asks."""
    if config.pose is None or pose is None:
        return pose
    return pose.moved(delta, config.action_space.rotation, is_in_tool_frame=config.pose.is_in_tool_frame)


def _rested(config: GateConfig, state: GateState, now_ns: int) -> tuple[GateState, Command]:
    """A tick with nothing due: RUN becomes HOLD in time; the arm slows down to a stand."""
    if state.mode is Mode.RUN and now_ns - state.last_row_ns > config.chunk_timeout_ns:
        state = held(config, state, now_ns, _starved(state, now_ns - state.last_row_ns))
    ticks_left = max(config.hold.stop_ticks - state.stopping_ticks - 1, 0)  # after this one
    if not ticks_left or state.mode in (Mode.ARMED, Mode.FAULT):
        return replace(state, last_delta=NONE), Command.stop(state.gripper)
    delta, _ = _within_walls(config, state, state.last_delta * (ticks_left / (ticks_left + 1)))
    state = replace(
        state,
        ledger=state.ledger.after(now_ns, delta),
        last_delta=delta,
        stopping_ticks=state.stopping_ticks + 1,
        pose=_moved(config, state.pose, delta),
    )
    return state, Command(delta=delta, gripper=state.gripper)


def _obstructed(config: GateConfig, state: GateState, now_ns: int) -> GateState:
    """Held, if something in the way says so: nobody listens, or nobody knows where the end effector is."""
    reason = state.blocked or _lost(config, state, now_ns)
    if not reason and not state.obstruction:
        return state
    former, state = state.obstruction, replace(state, obstruction=reason)
    if reason and state.mode is Mode.RUN:
        return held(config, state, now_ns, reason)
    if reason and state.schedule.chunk is not None:
        state = forgotten(state, now_ns)
    if reason != former and state.mode is Mode.ARMED:
        state = replace(state, reason=reason or ("waiting for a chunk" if state.instruction else NO_INSTRUCTION))
    return state


def _lost(config: GateConfig, state: GateState, now_ns: int) -> str:
    """Why the end effector's pose is not known, where it must be."""
    if config.pose is None:
        return ""
    if state.pose is None:
        return "waiting for the end effector's pose"
    timeout_ns = config.pose.timeout_ns
    if timeout_ns is not None and now_ns - state.pose_ns > timeout_ns:
        return f"no pose of the end effector for {timeout_ns / 1e9} s"
    return ""


def _located(config: GateConfig, state: GateState, now_ns: int, pose: Pose, stamp_ns: int | None) -> GateState:
    """With a pose of the end effector, and what was commanded since it was measured; a target in motion stays."""
    state = replace(state, pose_ns=now_ns if stamp_ns is None else min(stamp_ns, now_ns))
    is_moving = state.mode is Mode.RUN or (state.mode is Mode.HOLD and state.last_delta.any())
    if config.pose is not None and config.pose.is_target and is_moving and state.pose is not None:
        return state
    if state.pose_ns == now_ns:  # a command that is still being made ends with this tick
        return replace(state, pose=pose)
    since = state.ledger.since(state.pose_ns, config.tick_ns, config.action_space.rotation)
    return replace(state, pose=_moved(config, pose, since))


def _policy_instructed(config: GateConfig, state: GateState, now_ns: int, text: str) -> GateState:
    """What is in execution or still on its way was made for the policy's former instruction."""
    state = replace(state, policy_instruction=text)
    if state.mode is not Mode.RUN:
        return forgotten(state, now_ns)
    if text:
        return stopped(state, now_ns, Mode.ARMED, "policy_node has another instruction")
    return held(config, state, now_ns, "policy_node holds")


def _clock_went_back(config: GateConfig, state: GateState, now_ns: int) -> GateState:
    gap_s = (state.now_ns - now_ns) / 1e9
    state = replace(state, now_ns=now_ns, ledger=DisplacementLedger(), holds_ns=())
    state = replace(state, pose_ns=min(state.pose_ns, now_ns))
    return held(config, state, now_ns, f"the clock went back by {gap_s:.3f} s")


def _starved(state: GateState, duration_ns: int) -> str:
    why = f"; last refusal: {state.last_refusal}" if state.last_refusal else ""
    return f"no chunk for {duration_ns / 1e9:.2f} s{why}"


def _reset(state: GateState, now_ns: int) -> GateState:
    if state.mode is not Mode.FAULT or state.is_emergency:
        return state
    # motion after a fault takes the operator's word for what to do, not only the reset
    state = replace(forgotten(state, now_ns), epoch=state.epoch + 1, instruction=None, holds_ns=())
    return replace(state, mode=Mode.ARMED, reason="reset by the operator, waiting for an instruction")


def _emergency(state: GateState, now_ns: int, is_pressed: bool) -> GateState:
    state = replace(state, is_emergency=is_pressed)
    if not is_pressed or state.mode is Mode.FAULT:
        return state
    return stopped(state, now_ns, Mode.FAULT, "emergency stop; release it, then call ~/reset")


def _instruct(state: GateState, now_ns: int, text: str) -> GateState:
    try:
        check_instruction(text)
    except ObservationError as refusal:
        # the operator's own word, not a mishap: it does not count among the holds
        return stopped(replace(state, instruction=None), now_ns, Mode.HOLD, str(refusal))
    if text == state.instruction:
        return state
    return stopped(replace(state, instruction=text), now_ns, Mode.ARMED, "new instruction, waiting for a chunk")
