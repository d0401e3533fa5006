"""The gate between a policy and a robot: a pure state machine, `step(config, state, now, inbox) -> (state, command)`.

Nothing here knows ROS, a clock or a thread; the node hands in the time and what arrived since the last tick.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from vla_ros.action import ActionChunk, ActionSpace, Command
from vla_ros.control.chunk_scheduler import Due, LateSteps, Schedule
from vla_ros.control.displacement_ledger import DisplacementLedger
from vla_ros.control.limits import SpeedLimits
from vla_ros.control.observation_gate import MAX_FUTURE_NS
from vla_ros.errors import ContractError, ObservationError
from vla_ros.processing.instruction import check_instruction


class Mode(Enum):
    """What the gate is doing; UNCONFIGURED and INACTIVE are states of the node's life cycle."""

    ARMED = "ARMED"
    RUN = "RUN"
    HOLD = "HOLD"
    FAULT = "FAULT"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """What the gate was configured with.

    Attributes:
        action_space: the robot's; chunks of another one are refused.
        execution_horizon: rows of a chunk that are executed.
        chunk_timeout_ns: without a due row for longer than this, RUN becomes HOLD [ns].
        limits: speed limits.
        late_steps: what becomes of rows that are past when their chunk arrives.
    """

    action_space: ActionSpace
    execution_horizon: int
    chunk_timeout_ns: int
    limits: SpeedLimits
    late_steps: LateSteps = "ledger"

    def __post_init__(self) -> None:
        for name in ("execution_horizon", "chunk_timeout_ns"):
            if getattr(self, name) <= 0:
                raise ContractError(f"{name}: expected > 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """What arrived since the last tick.

    Attributes:
        chunks: in order of arrival.
        refused: chunks that could not even be read: why.
        instruction: the newest one, or None for no message.
        policy_instruction: the one that policy_node says it works on, or None for no message.
        emergency_stop: the newest word of the emergency stop, or None for no message.
        reset: the operator asks to leave FAULT.
        timed_out: nothing came while the world stood waiting (lockstep).
        fault: what makes it unsafe to go on, e.g. a second publisher of commands; empty otherwise.
    """

    chunks: tuple[ActionChunk, ...] = ()
    refused: tuple[str, ...] = ()
    instruction: str | None = None
    policy_instruction: str | None = None
    emergency_stop: bool | None = None
    reset: bool = False
    timed_out: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateState:
    """Everything the gate remembers from tick to tick.

    Attributes:
        mode, reason: what it does and why.
        epoch: grows with every stop; chunks of former epochs never run.
        newer_than_ns: only chunks from observations after this are admitted: the last stop [ns].
        now_ns: time of the last tick [ns].
        last_row_ns: when a row was last executed [ns].
        instruction: in force, or None.
        policy_instruction: what policy_node works on, or None; chunks of another one never run.
        is_emergency: whether the emergency stop is pressed.
        schedule: the chunk in execution.
        ledger: what was commanded lately.
        gripper: last commanded opening, or None.
        counts: chunks refused, steps clamped …, by name.
        last_refusal: why the last chunk was refused; empty once a chunk was admitted.
    """

    mode: Mode = Mode.ARMED
    reason: str = "waiting for an instruction"
    epoch: int = 0
    newer_than_ns: int = -1
    now_ns: int = -1
    last_row_ns: int = -1
    instruction: str | None = None
    policy_instruction: str | None = None
    is_emergency: bool = False
    schedule: Schedule = field(default_factory=Schedule)
    ledger: DisplacementLedger = field(default_factory=DisplacementLedger)
    gripper: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    last_refusal: str = ""

    @property
    def agreed_instruction(self) -> str:
        """The instruction that gate and policy both have; empty while they differ."""
        return self.instruction if self.instruction and self.instruction == self.policy_instruction else ""

    @property
    def text(self) -> str:
        """The state in one line: `RUN`, or `HOLD: no chunk for 0.20 s`."""
        return f"{self.mode.value}: {self.reason}" if self.reason else self.mode.value


def step(config: GateConfig, state: GateState, now_ns: int, inbox: Inbox) -> tuple[GateState, Command]:
    """One control period: take in what arrived, put out exactly one command."""
    return advance(config, receive(config, state, now_ns, inbox), now_ns)


def receive(config: GateConfig, state: GateState, now_ns: int, inbox: Inbox) -> GateState:
    """Take in what arrived; nothing moves yet. The order makes every stop win over every chunk."""
    if now_ns < state.now_ns:
        gap_s = (state.now_ns - now_ns) / 1e9
        state = replace(state, now_ns=now_ns, ledger=DisplacementLedger())
        state = _stopped(state, now_ns, Mode.HOLD, f"the clock went back by {gap_s:.3f} s")
    if inbox.reset:
        state = _reset(state, now_ns)
    if inbox.emergency_stop is not None:
        state = _emergency(state, now_ns, inbox.emergency_stop)
    if inbox.fault:
        state = _stopped(state, now_ns, Mode.FAULT, f"{inbox.fault}; mend it, then call ~/reset")
    if inbox.instruction is not None:
        state = _instruct(state, now_ns, inbox.instruction)
    if inbox.policy_instruction is not None and inbox.policy_instruction != state.policy_instruction:
        # what is in execution or still on its way was made for the former instruction
        state = replace(_forgotten(state, now_ns), policy_instruction=inbox.policy_instruction)
    for reason in inbox.refused:
        state = _refused(state, reason)
    for chunk in inbox.chunks:
        state = _admit(config, state, now_ns, chunk)
    if inbox.timed_out:
        state = _stopped(state, now_ns, Mode.HOLD, _starved(state, config.chunk_timeout_ns))
    return state


def restarted(state: GateState, now_ns: int) -> GateState:
    """The state after a simulator was reset to an earlier time: nothing from before runs; a FAULT stays."""
    state = replace(state, now_ns=now_ns, newer_than_ns=-1, ledger=DisplacementLedger(), schedule=Schedule())
    return _stopped(state, now_ns - 1, Mode.ARMED, "the simulator was reset")


def has_due_row(config: GateConfig, state: GateState, now_ns: int) -> bool:
    """Whether `advance` would execute a row now."""
    return state.mode is not Mode.FAULT and _due(config, _started(config, state, now_ns), now_ns) is not None


def _started(config: GateConfig, state: GateState, now_ns: int) -> GateState:
    schedule = state.schedule.started(now_ns, config.execution_horizon, config.late_steps, state.ledger)
    return replace(state, schedule=schedule)


def _due(config: GateConfig, state: GateState, now_ns: int) -> Due | None:
    return state.schedule.due(now_ns, config.execution_horizon, config.late_steps)


def advance(config: GateConfig, state: GateState, now_ns: int) -> tuple[GateState, Command]:
    """Execute what is due now; a zero delta where nothing is."""
    state = _started(config, replace(state, now_ns=now_ns), now_ns)
    due = None if state.mode is Mode.FAULT else _due(config, state, now_ns)
    if due is None:
        if state.mode is Mode.RUN and now_ns - state.last_row_ns > config.chunk_timeout_ns:
            state = _stopped(state, now_ns, Mode.HOLD, _starved(state, now_ns - state.last_row_ns))
        return state, Command.stop(state.gripper)
    # at a chunk's end the period is cut short, and so is what may still be made up for in it
    delta, is_clamped = config.limits.clamp(due.delta, due.lasts_ns / 1e9)
    space = config.action_space
    state = replace(
        state,
        mode=Mode.RUN,
        reason="",
        schedule=state.schedule.after(due, delta, config.late_steps),
        ledger=state.ledger.after(now_ns, delta, keep_ns=(config.execution_horizon + 2) * space.period_ns),
        gripper=due.gripper,
        last_row_ns=now_ns,
    )
    if is_clamped:
        state = _counted(state, "clamped")
    return state, Command(delta=delta, gripper=state.gripper)


def _stopped(state: GateState, now_ns: int, mode: Mode, reason: str) -> GateState:
    """Leave the chunk for good; FAULT is latched and keeps its first reason."""
    if state.mode is Mode.FAULT and mode is not Mode.FAULT:
        mode, reason = state.mode, state.reason
    return replace(_forgotten(state, now_ns), mode=mode, reason=reason, epoch=state.epoch + 1)


def _forgotten(state: GateState, now_ns: int) -> GateState:
    """Without its chunk, which never runs again: not if the camera's clock is a little ahead either."""
    running_ns = state.schedule.chunk.stamp_ns if state.schedule.chunk is not None else now_ns
    # what is further ahead is from before the clock went back
    stamps = [stamp for stamp in (running_ns, state.newer_than_ns) if stamp - now_ns <= MAX_FUTURE_NS]
    return replace(state, newer_than_ns=max([now_ns, *stamps]), schedule=Schedule())


def _starved(state: GateState, duration_ns: int) -> str:
    why = f"; last refusal: {state.last_refusal}" if state.last_refusal else ""
    return f"no chunk for {duration_ns / 1e9:.2f} s{why}"


def _reset(state: GateState, now_ns: int) -> GateState:
    if state.mode is not Mode.FAULT or state.is_emergency:
        return state
    # motion after a fault takes the operator's word for what to do, not only the reset
    state = replace(state, mode=Mode.ARMED, instruction=None)
    return _stopped(state, now_ns, Mode.ARMED, "reset by the operator, waiting for an instruction")


def _emergency(state: GateState, now_ns: int, is_pressed: bool) -> GateState:
    state = replace(state, is_emergency=is_pressed)
    if not is_pressed or state.mode is Mode.FAULT:
        return state
    return _stopped(state, now_ns, Mode.FAULT, "emergency stop; release it, then call ~/reset")


def _instruct(state: GateState, now_ns: int, text: str) -> GateState:
    try:
        check_instruction(text)
    except ObservationError as refusal:
        return _stopped(replace(state, instruction=None), now_ns, Mode.HOLD, str(refusal))
    if text == state.instruction:
        return state
    return _stopped(replace(state, instruction=text), now_ns, Mode.ARMED, "new instruction, waiting for a chunk")


def _admit(config: GateConfig, state: GateState, now_ns: int, chunk: ActionChunk) -> GateState:
    space = config.action_space
    if chunk.frame_id != space.frame_id:
        return _refused(state, f"chunk: frame_id: expected {space.frame_id!r}, got {chunk.frame_id!r}")
    if chunk.rotation != space.rotation:
        return _refused(state, f"chunk: rotation: expected {space.rotation!r}, got {chunk.rotation!r}")
    if chunk.period_ns != space.period_ns:
        expected, got = space.period_ns / 1e9, chunk.period_ns / 1e9
        return _refused(state, f"chunk: time_from_start: expected steps of {expected} s, got {got} s")
    if chunk.stamp_ns - now_ns > MAX_FUTURE_NS:
        ahead_s = (chunk.stamp_ns - now_ns) / 1e9
        return _refused(state, f"chunk: header.stamp: expected <= {MAX_FUTURE_NS / 1e9} s ahead, got {ahead_s:.3f} s")
    # the rest is what late messages look like in good order: dropped and counted, no fault of anyone
    if state.mode is Mode.FAULT:
        return _counted(state, "dropped: in FAULT")
    if state.instruction is None:
        return _counted(state, "dropped: no instruction")
    if state.policy_instruction != state.instruction:
        return _counted(state, "dropped: policy_node has another instruction")
    if chunk.stamp_ns <= state.newer_than_ns:
        return _counted(state, "dropped: older than the last stop")
    if not state.schedule.is_newer(chunk):
        return _counted(state, "dropped: out of order")
    return replace(state, schedule=Schedule(chunk=chunk), last_refusal="")


def _refused(state: GateState, reason: str) -> GateState:
    return _counted(replace(state, last_refusal=reason), "refused")


def _counted(state: GateState, name: str) -> GateState:
    return replace(state, counts={**state.counts, name: state.counts.get(name, 0) + 1})
