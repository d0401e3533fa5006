"""The gate in a simulator's time: one clock message is one tick, and the world waits until it is answered.

A tick may say which chunk it is to be answered with (`awaited_ns`); without that the gate waits where nothing is due.
"""

from dataclasses import dataclass, replace

from vla_ros.action import ActionChunk, Command
from vla_ros.control import safety_gate
from vla_ros.control.gate_config import GateConfig
from vla_ros.control.gate_state import NEVER_NS, GateState, Inbox, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The one command of the tick at `stamp_ns`."""

    stamp_ns: int
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A tick that is not answered yet.

    Attributes:
        stamp_ns: of the tick [ns].
        until_ns: steady time at which to give up [ns].
        awaited_ns: stamp of the chunk that it waits for; 0: none, None: any with a row that is due [ns].
        refusals: how many chunks had been refused when it began.
    """

    stamp_ns: int
    until_ns: int
    awaited_ns: int | None
    refusals: int


class LockstepGate:
    """Runs the safety gate tick by tick; every method returns an Answer as soon as there is one.

    Attributes:
        state: the gate's state.
    """

    def __init__(self, config: GateConfig, state: GateState) -> None:
        self._config = config
        self.state = state
        self._early: ActionChunk | None = None
        self._waiting: Wait | None = None
        self._newest_ns = NEVER_NS  # stamp of the newest chunk that was dealt with, be it admitted or not
        self._answered: Answer | None = None

    def clock(self, stamp_ns: int, steady_ns: int, awaited_ns: int | None = None) -> Answer | None:
        """Begin the tick at `stamp_ns`; a repeated one gets the same answer again and moves nothing.

        Args:
            stamp_ns: simulated time [ns].
            steady_ns: by a clock that is never set [ns].
            awaited_ns: the tick is answered once the chunk of the observation with this stamp is here, what is in
                execution or not; 0: at once, with what there is. None: as soon as a row is due [ns].
        """
        if self._answered is not None and stamp_ns == self._answered.stamp_ns:
            return self._answered
        if self._waiting is not None and stamp_ns == self._waiting.stamp_ns:
            return None
        if stamp_ns <= self.state.now_ns:
            self._early, self._newest_ns = None, NEVER_NS
            self.state = safety_gate.restarted(self.state, stamp_ns)
        inbox = Inbox()
        if self._early is not None and self._early.stamp_ns <= stamp_ns:
            inbox, self._early = Inbox(chunks=(self._early,)), None
            self._newest_ns = max(self._newest_ns, inbox.chunks[0].stamp_ns)
        until_ns = steady_ns + self._config.chunk_timeout_ns
        self._waiting = Wait(stamp_ns=stamp_ns, until_ns=until_ns, awaited_ns=awaited_ns, refusals=self._refused())
        self.state = safety_gate.receive(self._config, self.state, stamp_ns, inbox)
        return self._answer()

    def receive(self, inbox: Inbox) -> Answer | None:
        """Take in messages; a chunk ahead of the clock waits for the clock."""
        now_ns = self._waiting.stamp_ns if self._waiting is not None else max(self.state.now_ns, 0)
        chunks = []
        for chunk in inbox.chunks:
            if chunk.stamp_ns <= now_ns:
                chunks.append(chunk)
                self._newest_ns = max(self._newest_ns, chunk.stamp_ns)
            elif self._early is None or chunk.stamp_ns > self._early.stamp_ns:
                self._early = chunk
        ready = replace(inbox, chunks=tuple(chunks))
        before = (self.state.epoch, self.state.policy_instruction)
        self.state = safety_gate.receive(self._config, self.state, now_ns, ready)
        if before != (self.state.epoch, self.state.policy_instruction):
            self._early = None  # made before the stop
            if self._answered is not None:  # nor is a motion from before the stop ever sent again
                stop = Command.stop(self.state.gripper)
                self._answered = Answer(stamp_ns=self._answered.stamp_ns, command=stop)
        return self._answer()

    def poll(self, steady_ns: int) -> Answer | None:
        """Give the wait up once it lasted chunk_timeout."""
        if self._waiting is None or steady_ns < self._waiting.until_ns:
            return None
        return self._hold()

    def _answer(self) -> Answer | None:
        if self._waiting is None:
            return None
        is_refused = self._refused() > self._waiting.refusals
        is_stopped = self.state.mode is Mode.HOLD and self.state.instruction is None
        if self._is_ready(self._waiting):
            return self._tick()
        if self.state.mode is Mode.FAULT or is_stopped:
            return self._tick()
        # the same image would give the same chunk again: waiting on would only hide the reason
        return self._hold() if is_refused else None

    def _is_ready(self, wait: Wait) -> bool:
        if wait.awaited_ns is None:
            return safety_gate.has_due_row(self._config, self.state, wait.stamp_ns)
        return self._newest_ns >= wait.awaited_ns or not wait.awaited_ns

    def _refused(self) -> int:
        return self.state.counts.get("refused", 0)

    def _hold(self) -> Answer:
        assert self._waiting is not None
        self.state = safety_gate.receive(self._config, self.state, self._waiting.stamp_ns, Inbox(timed_out=True))
        return self._tick()

    def _tick(self) -> Answer:
        assert self._waiting is not None
        stamp_ns, self._waiting = self._waiting.stamp_ns, None
        # a simulator's time goes on by as much as it likes: no tick of it is late
        state = replace(self.state, now_ns=stamp_ns)
        self.state, command = safety_gate.advance(self._config, state, stamp_ns)
        self._answered = Answer(stamp_ns=stamp_ns, command=command)
        return self._answered
