"""What the gate is told and what it remembers from tick to tick."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from vla_ros.action import ActionChunk
from vla_ros.control.chunk_scheduler import Schedule
from vla_ros.control.displacement import NONE, Displacement
from vla_ros.control.displacement_ledger import DisplacementLedger
from vla_ros.control.pose import Pose
from vla_ros.control.temporal_ensemble import Prediction

NO_INSTRUCTION = "waiting for an instruction"
NEVER_NS = -1
"""Before any time [ns]."""


class Mode(Enum):
    """What the gate is doing; UNCONFIGURED and INACTIVE are states of the node's life cycle."""

    ARMED = "ARMED"
    RUN = "RUN"
    HOLD = "HOLD"
    FAULT = "FAULT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """What arrived since the last tick.

    Attributes:
        chunks: in order of arrival.
        refused: chunks that could not even be read: why.
        instruction: the newest one, or None for no message.
        policy_instruction: the one that policy_node says it works on, or None for no message.
        pose: of the end effector, measured or given, or None for no message.
        pose_stamp_ns: when it was measured; None: it is the present one [ns].
        blocked: why nothing may move for now, e.g. that nobody listens; empty once that is over, None for no news.
        emergency_stop: the newest word of the emergency stop, or None for no message.
        reset: the operator asks to leave FAULT.
        timed_out: nothing came while the world stood waiting (lockstep).
        fault: what makes it unsafe to go on, e.g. a second publisher of commands; empty otherwise.
    """

    chunks: tuple[ActionChunk, ...] = ()
    refused: tuple[str, ...] = ()
    instruction: str | None = None
    policy_instruction: str | None = None
    pose: Pose | None = None
    pose_stamp_ns: int | None = None
    blocked: str | None = None
    emergency_stop: bool | None = None
    reset: bool = False
    timed_out: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExit:
    """Why the arm stopped, and what it was doing: the snapshot of an exit from RUN.

    Attributes:
        time_ns: when, in the gate's time [ns].
        mode, reason: into which mode, and why.
        instruction: that was being carried out.
        chunk_stamp_ns: of the observation behind the chunk in execution, or None [ns].
        done_ns: how much of the chunk's time had been commanded [ns].
        owed, last_delta: float64 [6], what the ledger still owed, and the last command.
        counts: of everything until then.
    """

    time_ns: int
    mode: Mode
    reason: str
    instruction: str | None
    chunk_stamp_ns: int | None
    done_ns: int
    owed: Displacement
    last_delta: Displacement
    counts: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For a log: plain numbers and strings."""
        return {
            "time_ns": self.time_ns,
            "mode": self.mode.value,
            "reason": self.reason,
            "instruction": self.instruction,
            "chunk_stamp_ns": self.chunk_stamp_ns,
            "done_ns": self.done_ns,
            "owed": self.owed.tolist(),
            "last_delta": self.last_delta.tolist(),
            "counts": dict(self.counts),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GateState:
    """Everything the gate remembers.

    Attributes:
        mode, reason: what it does and why.
        epoch: grows with every stop; chunks of former epochs never run.
        newer_than_ns: only chunks from observations after this are admitted: the last stop [ns].
        now_ns: time of the last tick [ns].
        last_row_ns: when a row was last executed [ns].
        instruction: in force, or None.
        policy_instruction: what policy_node works on, or None; chunks of another one never run.
        is_emergency: whether the emergency stop is pressed.
        blocked: why nothing may move, as the node says, or empty.
        obstruction: why nothing may move, be it that or a pose that is not known; or empty.
        schedule: the chunk in execution.
        predictions: the chunks of this epoch that started, for the temporal ensemble.
        ledger: what was commanded lately.
        last_delta: float64 [6], the last command.
        stopping_ticks: how many commands the arm has been slowing down for.
        gripper: last commanded opening, or None.
        gripper_votes: ticks in succession that wanted the other state of the gripper.
        pose: where the commands have led the end effector, from the last pose given; None if none was.
        pose_ns: when that was measured [ns].
        holds_ns: when the arm was held during the last minute [ns].
        recovering_ns: arrival of the first and of the last acceptable chunk in HOLD; None: none yet [ns].
        counts: chunks refused, steps clamped …, by name.
        last_refusal: why the last chunk was refused; empty once a chunk was admitted.
        last_exit: the last exit from RUN.
    """

    mode: Mode = Mode.ARMED
    reason: str = NO_INSTRUCTION
    epoch: int = 0
    newer_than_ns: int = NEVER_NS
    now_ns: int = NEVER_NS
    last_row_ns: int = NEVER_NS
    instruction: str | None = None
    policy_instruction: str | None = None
    is_emergency: bool = False
    blocked: str = ""
    obstruction: str = ""
    schedule: Schedule = field(default_factory=Schedule)
    predictions: tuple[Prediction, ...] = ()
    ledger: DisplacementLedger = field(default_factory=DisplacementLedger)
    last_delta: Displacement = field(default_factory=lambda: NONE)
    stopping_ticks: int = 0
    gripper: float | None = None
    gripper_votes: int = 0
    pose: Pose | None = None
    pose_ns: int = NEVER_NS
    holds_ns: tuple[int, ...] = ()
    recovering_ns: tuple[int, int] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    last_refusal: str = ""
    last_exit: RunExit | None = None

    @property
    def agreed_instruction(self) -> str:
        """The instruction that gate and policy both have; empty while they differ."""
        return self.instruction if self.instruction and self.instruction == self.policy_instruction else ""

    @property
    def text(self) -> str:
        """The state in one line: `RUN`, or `HOLD: no chunk for 0.20 s`."""
        return f"{self.mode.value}: {self.reason}" if self.reason else self.mode.value

    def counted(self, name: str, by: int = 1) -> "GateState":
        """With one more of what `name` says."""
        return replace(self, counts={**self.counts, name: self.counts.get(name, 0) + by})

    def refused(self, reason: str) -> "GateState":
        """With a chunk refused; chunks that arrive in HOLD must be acceptable one after the other."""
        return replace(self, last_refusal=reason, recovering_ns=None).counted("refused")
