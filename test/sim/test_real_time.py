"""Real time with a clock that the test winds: what the arm does, and what becomes of a simulator that is too slow."""

import numpy as np
import pytest

from test.sim.fake_simulator import FakeSimulator
from vla_ros.action import Command
from vla_ros.sim.camera_schedule import Shot
from vla_ros.sim.episode import EpisodeResult, Outcome
from vla_ros.sim.real_time import PlayedCommands, RealTimeRunner

PERIOD_NS = 50_000_000
MS = 1_000_000


def move(x_m: float, gripper: float | None = None) -> Command:
    return Command(delta=np.array([x_m, 0, 0, 0, 0, 0]), gripper=gripper)


def played() -> PlayedCommands:
    return PlayedCommands(PERIOD_NS, "axis_angle")


def test_a_command_is_made_evenly_during_the_period_after_its_stamp() -> None:
    arm = played()
    arm.add(1000 * MS, move(0.01))
    parts = [arm.until(instant * MS).delta[0] for instant in (990, 1010, 1030, 1050, 1100)]
    assert parts == pytest.approx([0, 0.002, 0.004, 0.004, 0])


def test_nothing_is_lost_or_done_twice_whatever_the_phase_and_however_late_a_command_comes() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        arm, total, now_ns = played(), 0.0, 0
        commands = [
            (tick * PERIOD_NS + int(random.integers(10 * MS)), random.uniform(-0.01, 0.01)) for tick in range(40)
        ]
        pending = [(stamp + int(random.integers(30 * MS)), stamp, x) for stamp, x in commands]
        for _ in range(60):
            now_ns += int(random.integers(1, 2 * PERIOD_NS))
            for item in [item for item in pending if item[0] <= now_ns]:
                arm.add(item[1], move(item[2]))
                pending.remove(item)
            total += arm.until(now_ns).delta[0]
        for _, stamp, x in pending:
            arm.add(stamp, move(x))
        total += arm.until(10**12).delta[0]
        assert total == pytest.approx(sum(x for _, x in commands))


def test_the_gripper_keeps_its_last_opening() -> None:
    arm = played()
    assert arm.until(0).gripper is None
    arm.add(10, move(0, gripper=0.0))
    assert arm.until(20).gripper == 0.0
    arm.add(30, move(0))
    assert arm.until(200 * MS).gripper == 0.0


class Clock:
    def __init__(self) -> None:
        self.now_ns = 10**15


class FakeGate:
    """Commands 5 mm a period whenever somebody listens; answers an image one period after it came."""

    gate_state = "RUN"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.shots: list[Shot] = []
        self.instructions: list[str] = []
        self.shown_at: list[int] = []
        self.is_silent = False
        self.trouble: tuple[Outcome, str] | None = None
        self._commands: list[tuple[int, Command]] = []
        self._next_ns = clock.now_ns

    def tell(self, text: str) -> None:
        self.instructions.append(text)

    def show(self, shot: Shot) -> None:
        self.shots.append(shot)
        self.shown_at.append(self.clock.now_ns)

    def listen(self, until_ns: int) -> None:
        self.clock.now_ns = max(self.clock.now_ns, until_ns)
        while self._next_ns <= self.clock.now_ns:
            if not self.is_silent:
                self._commands.append((self._next_ns, move(0.005)))
            self._next_ns += PERIOD_NS

    def commands(self) -> list[tuple[int, Command]]:
        commands, self._commands = self._commands, []
        return commands

    def is_policy_free(self) -> bool:
        return not self.shots or self.clock.now_ns - self.shown_at[-1] >= PERIOD_NS

    def reactions_ms(self) -> list[float]:
        return []

    def problem(self, text: str) -> tuple[Outcome, str] | None:
        return self.trouble


class SlowSimulator(FakeSimulator):
    """Takes time on the test's clock."""

    def __init__(self, clock: Clock, step_ms: float, render_ms: float) -> None:
        super().__init__()
        self.clock, self.step_ms, self.render_ms = clock, step_ms, render_ms

    def step(self, command: Command) -> None:
        self.clock.now_ns += round(self.step_ms * MS)
        super().step(command)

    def render(self) -> "np.ndarray":
        self.clock.now_ns += round(self.render_ms * MS)
        return super().render()


def run(step_ms: float, render_ms: float) -> tuple[EpisodeResult, FakeGate, SlowSimulator]:
    clock = Clock()
    simulator, gate = SlowSimulator(clock, step_ms, render_ms), FakeGate(clock)
    return run_with(simulator, gate), gate, simulator


def run_with(simulator: SlowSimulator, gate: FakeGate) -> EpisodeResult:
    runner = RealTimeRunner(
        simulator=simulator,
        link=gate,
        video_every_n_steps=0,
        on_step=lambda step, state: None,
        played=played(),
        pause_ns=1000 * MS,
        now_ns=lambda: simulator.clock.now_ns,
    )
    return runner.run(simulator.tasks()[0], 0, 0, None, "")


def test_the_world_moves_by_what_was_commanded_during_its_own_time() -> None:
    result, _, simulator = run(step_ms=5, render_ms=5)
    assert result.outcome == "success"
    deltas = [command.delta[0] for command in simulator.commands]
    assert deltas[1:] == pytest.approx([0.005] * (len(deltas) - 1))
    assert result.lag_ms < 50


def test_while_an_image_is_rendered_the_world_falls_behind_and_catches_up_without_losing_a_command() -> None:
    quick, slow = run(step_ms=5, render_ms=5), run(step_ms=5, render_ms=180)
    assert slow[0].outcome == "success"
    assert slow[0].steps == quick[0].steps
    assert 100 < slow[0].lag_ms < 250
    assert len(slow[1].shots) < len(quick[1].shots)


def test_an_image_carries_the_time_of_the_world_that_it_shows() -> None:
    _, gate, simulator = run(step_ms=5, render_ms=180)
    for shot in gate.shots:
        steps = (shot.stamp_ns - gate.shots[0].stamp_ns) // PERIOD_NS
        moved = sum(command.delta[0] for command in simulator.commands[:steps])
        assert shot.image[0, 0, 0] == round(moved * 1000)
    assert all(at - shot.stamp_ns >= 180 * MS for at, shot in zip(gate.shown_at, gate.shots, strict=True))


def test_a_simulator_slower_than_real_time_fails_the_episode_instead_of_slowing_the_clock() -> None:
    result, _, _ = run(step_ms=140, render_ms=5)
    assert result.outcome == "simulator_failed"
    assert not result.is_success
    assert "expected a world at most 1 s behind the wall clock" in result.reason


def test_a_benchmark_that_counts_the_last_state_runs_to_its_limit() -> None:
    clock = Clock()
    simulator = SlowSimulator(clock, 5, 5)
    simulator.ends_at_success = False
    result = run_with(simulator, FakeGate(clock))
    assert (result.outcome, result.steps) == ("success", simulator.max_steps)


def test_an_arm_whose_gate_dies_stands_still() -> None:
    clock = Clock()
    simulator, gate = SlowSimulator(clock, 5, 5), FakeGate(clock)
    gate.is_silent = True
    assert run_with(simulator, gate).outcome == "timeout"
    assert all(command.is_stop for command in simulator.commands)


def test_trouble_of_gate_or_policy_ends_the_episode_with_its_reason() -> None:
    clock = Clock()
    simulator, gate = SlowSimulator(clock, 5, 5), FakeGate(clock)
    gate.trouble = ("held", "FAULT: emergency stop")
    result = run_with(simulator, gate)
    assert (result.outcome, result.reason, result.steps) == ("held", "FAULT: emergency stop", 1)
