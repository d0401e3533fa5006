"""Everything that may happen to a gate, at random, and what must hold at every tick whatever it was."""

import dataclasses

import numpy as np

from test.control.gate_fixtures import MS, SPACE, make_chunk, make_motion
from vla_ros.action import ActionChunk, Command
from vla_ros.control.gate_config import GateConfig, HoldRules, PoseRules
from vla_ros.control.gate_state import GateState, Inbox, Mode
from vla_ros.control.limits import StepLimits, Workspace
from vla_ros.control.pose import Pose
from vla_ros.control.safety_gate import step

EPSILON = 1e-9
BOX_M = 0.2


def draw_config(random: np.random.Generator) -> GateConfig:
    """A robot: every rule in every strength."""
    is_in_tool_frame = bool(random.random() < 0.3)
    has_pose, has_walls = random.random() < 0.5, random.random() < 0.5
    timeout_ns = int(random.integers(1, 6)) * 100 * MS if random.random() < 0.3 else None
    return GateConfig(
        action_space=SPACE,
        ticks_per_row=int(random.choice([1, 2, 5])),
        execution_horizon=random.choice(np.array([1, 3, 4, 9, "full", "half", "one"], object)),
        chunk_timeout_ns=int(random.integers(1, 5)) * 100 * MS,
        motion=make_motion(*(float(random.choice([0.05, 0.5, 5.0, 500.0])) for _ in range(4))),
        steps=StepLimits(
            max_step_m=float(random.choice([0.01, 0.1])),
            max_step_rad=0.3,
            max_clamped_fraction=random.choice([0.5, 1.0]),
        ),
        hold=HoldRules(
            stop_ticks=int(random.integers(0, 6)),
            min_recovery_ns=int(random.integers(0, 4)) * 100 * MS,
            max_per_minute=int(random.choice([0, 3, 1000])),
        ),
        late_steps=random.choice(["ledger", "skip", "restart"]),
        overlap=random.choice(["replace", "temporal_ensemble"]),
        temporal_ensemble_coeff=float(random.choice([-0.5, 0.01, 0.5])),
        gripper_samples_to_open=int(random.integers(1, 4)),
        gripper_samples_to_close=int(random.integers(1, 4)),
        pose=PoseRules(is_in_tool_frame=is_in_tool_frame, timeout_ns=timeout_ns, is_target=bool(random.random() < 0.5))
        if has_pose
        else None,
        workspace=Workspace(least_m=np.full(3, -BOX_M), most_m=np.full(3, BOX_M)) if has_pose and has_walls else None,
    )


def draw_chunk(random: np.random.Generator, now_ns: int) -> ActionChunk:
    """Mostly a little late; sometimes from long ago, from the future, given again, or of another robot."""
    ages_ms = [0, 20, 50, 110, 250, 1000, -40, -60, -3_600_000]
    age_ms = random.choice(ages_ms, p=[0.4, 0.2, 0.1, 0.1, 0.1, *[0.025] * 4])
    chunk = make_chunk(
        max(now_ns - int(age_ms) * MS, 1),
        rows=int(random.integers(1, 9)),
        frame_id="world" if random.random() < 0.02 else "base",
    )
    scale = random.choice([1e-3, 0.02, 0.2, 1e30], p=[0.3, 0.4, 0.28, 0.02])
    chunk.actions[:, :6] = random.uniform(-scale, scale, (len(chunk), 6))
    chunk.actions[:, 6] = random.choice([0.0, 0.4, 0.6, 1.0], len(chunk))
    return chunk


def draw_inbox(random: np.random.Generator, now_ns: int, last: ActionChunk | None) -> Inbox:
    """What arrived since the last tick: often a chunk, seldom anything else."""
    inbox = Inbox()
    if random.random() < 0.3:
        again = (last,) if last is not None and random.random() < 0.1 else ()
        inbox = dataclasses.replace(inbox, chunks=(draw_chunk(random, now_ns), *again))
    if random.random() > 0.02:
        return inbox
    text = str(random.choice(["a", "b", "", "a\x00"], p=[0.48, 0.48, 0.02, 0.02]))
    changes = [
        {"instruction": text, "policy_instruction": text},
        {"instruction": text},
        {"policy_instruction": text},
        {"emergency_stop": bool(random.random() < 0.5)},
        {"reset": True, "emergency_stop": False, "instruction": "a", "policy_instruction": "a"},
        {"refused": ("chunk: not a number",)},
        {"blocked": str(random.choice(["", "", "nobody listens"]))},
        {"timed_out": True},
        {"fault": "two publishers"},
    ]
    shares = [0.2, 0.03, 0.03, 0.04, 0.5, 0.05, 0.1, 0.025, 0.025]
    return dataclasses.replace(inbox, **changes[random.choice(len(changes), p=shares)])


def draw_pose(random: np.random.Generator) -> Pose:
    """Anywhere in the box, turned any way."""
    quaternion = random.normal(size=4)
    return Pose(position_m=random.uniform(-BOX_M, BOX_M, 3), quaternion_xyzw=quaternion / np.linalg.norm(quaternion))


@dataclasses.dataclass
class Witness:
    """Remembers what the gate did, independently of the gate, and checks each tick against it."""

    config: GateConfig
    state: GateState
    stopped_ns: int = -1
    newest: dict[int, int] = dataclasses.field(default_factory=dict)  # done_ns by (epoch's) chunk
    wanted: list[float] = dataclasses.field(default_factory=list)
    moves: int = 0

    def check(self, now_ns: int, inbox: Inbox, after: GateState, command: Command) -> None:
        before, self.state = self.state, after
        delta, tick_s = command.delta, self.config.tick_ns / 1e9
        assert np.isfinite(delta).all()
        assert after.epoch >= before.epoch
        for at, speed, _ in self.config.motion.parts:
            assert np.linalg.norm(delta[at]) <= speed * tick_s + EPSILON
        if after.epoch > before.epoch or before.now_ns > now_ns:
            self.stopped_ns, self.newest, self.wanted = now_ns, {}, []
        if before.mode is Mode.RUN and after.mode is not Mode.RUN:
            assert after.last_exit is not None
            assert after.last_exit is not before.last_exit
        if before.mode is Mode.FAULT and after.mode is not Mode.FAULT:
            assert inbox.reset
            assert not after.is_emergency
        if after.mode in (Mode.FAULT, Mode.ARMED):
            assert command.is_stop
        self._check_walls(after)
        if self._is_row(now_ns, before, after):
            self._check_row(now_ns, before, after, command)
        elif not command.is_stop:
            self._check_slowing(before, command)
        if command.is_stop and after.last_row_ns != now_ns:
            assert command.gripper == before.gripper  # a stop never moves the gripper

    def _is_row(self, now_ns: int, before: GateState, after: GateState) -> bool:
        """Whether this tick executed a row; of two ticks at the same time the second may, too."""
        if after.mode is not Mode.RUN or after.last_row_ns != now_ns or after.schedule.chunk is None:
            return False
        is_first = before.last_row_ns != now_ns
        return is_first or self.newest.get(after.schedule.chunk.stamp_ns, 0) != after.schedule.done_ns

    def _check_row(self, now_ns: int, before: GateState, after: GateState, command: Command) -> None:
        self.moves += 1
        schedule, chunk = after.schedule, after.schedule.chunk
        assert chunk is not None
        assert schedule.start_ns is not None
        rows = self.config.executed_rows(len(chunk))
        assert after.instruction
        assert after.instruction == after.policy_instruction
        assert not after.is_emergency
        assert not after.obstruction
        assert chunk.stamp_ns > self.stopped_ns  # after a stop, motion needs a newer observation
        assert schedule.start_ns <= now_ns < schedule.start_ns + rows * chunk.period_ns
        assert chunk.stamp_ns >= max(self.newest, default=0)  # never back to an older chunk
        assert self.newest.get(chunk.stamp_ns, 0) < schedule.done_ns <= rows * chunk.period_ns  # nothing twice
        self.newest[chunk.stamp_ns] = schedule.done_ns
        for at, _, most in self.config.motion.parts:
            change = np.linalg.norm(command.delta[at] - before.last_delta[at])
            is_at_wall = self.config.workspace is not None and at.start == 0
            assert is_at_wall or change <= most * (self.config.tick_ns / 1e9) ** 2 + EPSILON
        self._check_gripper(now_ns, before, after, command)

    def _check_gripper(self, now_ns: int, before: GateState, after: GateState, command: Command) -> None:
        chunk, start_ns = after.schedule.chunk, after.schedule.start_ns
        assert chunk is not None
        assert start_ns is not None
        row = (now_ns - start_ns + self.config.tick_ns // 2) // chunk.period_ns
        self.wanted.append(float(chunk.actions[min(row, self.config.executed_rows(len(chunk)) - 1), 6]))
        if before.gripper is None or (command.gripper >= 0.5) == (before.gripper >= 0.5):
            return
        is_open = command.gripper >= 0.5
        samples = self.config.gripper_samples_to_open if is_open else self.config.gripper_samples_to_close
        needed = (samples - 1) * self.config.ticks_per_row + 1
        assert len(self.wanted) >= needed
        assert all((want >= 0.5) == is_open for want in self.wanted[-needed:])

    def _check_slowing(self, before: GateState, command: Command) -> None:
        """Without a row the arm only slows down, towards zero, and only for so many ticks."""
        assert self.state.mode in (Mode.RUN, Mode.HOLD)
        assert 0 < self.state.stopping_ticks < self.config.hold.stop_ticks
        assert np.linalg.norm(command.delta) <= np.linalg.norm(before.last_delta) + EPSILON

    def _check_walls(self, after: GateState) -> None:
        if self.config.workspace is not None and after.pose is not None:
            assert np.abs(after.pose.position_m).max() <= BOX_M + 1e-6


def attack(seed: int, ticks: int) -> int:
    """Run so many random ticks; returns how many of them moved the arm."""
    random = np.random.default_rng(seed)
    config = draw_config(random)
    state, now_ns = GateState(), 10**12
    witness, last = Witness(config=config, state=state), None
    for _ in range(ticks):
        jitter = random.choice([1.0, 0.9, 1.1, 0.0, 4.0, -7.0], p=[0.7, 0.12, 0.12, 0.02, 0.035, 0.005])
        now_ns += int(jitter * config.tick_ns)
        inbox = draw_inbox(random, now_ns, last)
        if config.pose is not None and random.random() < (0.2 if state.pose is not None else 0.9):
            inbox = dataclasses.replace(inbox, pose=draw_pose(random))
        last = inbox.chunks[0] if inbox.chunks else last
        state, command = step(config, state, now_ns, inbox)
        witness.check(now_ns, inbox, state, command)
        if random.random() < 0.002:
            check_that_a_stop_stops(config, state, now_ns)
    return witness.moves


def check_that_a_stop_stops(config: GateConfig, state: GateState, now_ns: int) -> None:
    """From every state, at once, and once more."""
    for _ in range(2):
        state, command = step(config, state, now_ns, Inbox(emergency_stop=True, chunks=(make_chunk(now_ns + 1),)))
        assert command.is_stop
        assert command.gripper == state.gripper
        assert state.mode is Mode.FAULT
