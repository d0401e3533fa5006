"""Invariants of the gate under any order of messages and ticks."""

import dataclasses
import itertools
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test.control.gate_fixtures import CONFIG, MS, PERIOD_NS, make_chunk, make_motion
from vla_ros.action import ActionChunk
from vla_ros.control.chunk_scheduler import LateSteps, Schedule
from vla_ros.control.displacement_ledger import JITTER
from vla_ros.control.gate_state import GateState, Inbox, Mode
from vla_ros.control.safety_gate import step

EVENTS = st.one_of(
    st.none(),
    st.tuples(st.just("chunk"), st.integers(-15, 2)),
    st.tuples(st.just("instruction"), st.sampled_from(["a", "b", ""])),
    st.tuples(st.just("policy_instruction"), st.sampled_from(["a", "b", ""])),
    st.tuples(st.just("fault"), st.just("a fault")),
    st.tuples(st.just("emergency_stop"), st.booleans()),
    st.tuples(st.just("reset"), st.just(True)),
    st.tuples(st.just("timed_out"), st.just(True)),
)
TICKS = st.lists(st.tuples(st.sampled_from([0, 20, 99, 100, 101, 350, -50]), EVENTS), max_size=60)
HORIZON = CONFIG.execution_horizon
LIMIT_M = CONFIG.motion.max_linear_speed_m_s / CONFIG.action_space.control_rate_hz


@settings(max_examples=300, deadline=None)
@given(TICKS, st.sampled_from(get_args(LateSteps)), st.sampled_from([LIMIT_M, 0.015]))
def test_whatever_happens_nothing_runs_twice_late_or_from_before_a_stop(
    ticks: list, late_steps: LateSteps, limit_m: float
) -> None:
    limits = make_motion(linear=limit_m * CONFIG.action_space.control_rate_hz)
    config = dataclasses.replace(CONFIG, late_steps=late_steps, motion=limits)
    state, now_ns, dealt_with, sent = GateState(), 10_000 * MS, {}, []
    for elapsed_ms, event in ticks:
        now_ns += elapsed_ms * MS
        if elapsed_ms < 0:
            sent = []  # the clock went back: what its former instants mean is gone
        kwargs = {}
        if event is not None:
            name, value = event
            kwargs = {name: value} if name != "chunk" else {"chunks": (make_chunk(now_ns + value * PERIOD_NS // 4),)}
        before = state
        state, command = step(config, state, now_ns, Inbox(**kwargs))
        assert np.isfinite(command.delta).all()
        assert np.linalg.norm(command.delta[:3]) <= limit_m + 1e-12
        assert state.epoch >= before.epoch
        sent.append((now_ns, command.delta[0]))
        if state.last_row_ns != now_ns or before.now_ns == now_ns:
            assert command.is_stop or before.now_ns == now_ns
            continue
        assert state.mode is Mode.RUN
        assert state.instruction
        assert not state.is_emergency
        schedule = state.schedule
        assert schedule.chunk.stamp_ns > state.newer_than_ns
        assert now_ns < schedule.start_ns + HORIZON * PERIOD_NS
        key = (state.epoch, schedule.chunk.stamp_ns)
        assert dealt_with.get(key, 0) < schedule.done_ns <= HORIZON * PERIOD_NS
        dealt_with[key] = schedule.done_ns
        if late_steps == "ledger":
            moved = moved_since(schedule.chunk.stamp_ns, sent)
            assert moved + schedule.owed[0] == pytest.approx(intended(schedule), abs=1e-9)
        elif late_steps == "skip":
            assert command.delta[0] <= (1 + JITTER) * schedule.chunk.actions[:, 0].max() + 1e-9


def moved_since(instant_ns: int, sent: list) -> float:
    """Of commands that each act evenly for a period."""
    return sum(delta * np.clip((tick + PERIOD_NS - instant_ns) / PERIOD_NS, 0, 1) for tick, delta in sent)


def intended(schedule: Schedule) -> float:
    """Of the chunk's time that was dealt with."""
    rows = schedule.chunk.actions[:HORIZON, 0].astype(float)
    return float(np.interp(schedule.done_ns / PERIOD_NS, np.arange(len(rows) + 1), [0, *np.cumsum(rows)]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=30), st.integers(0, 2**31))
def test_with_the_ledger_the_arm_is_where_its_chunk_wants_it_whatever_the_latency(
    chunks: list[tuple[int, int]], seed: int
) -> None:
    """The worked proof, in one dimension.

    A policy sees where the arm is at a stamp and wants it on a path; its chunks arrive late, by another number of ticks
    each, while former ones run. At the end of each tick the arm is where the newest chunk wants it after as many rows
    as are due: nothing was lost, and nothing done twice.
    """
    path = np.cumsum(np.random.default_rng(seed).uniform(-0.02, 0.02, 200))
    arrivals: dict[int, list[int]] = {}
    observed = 0
    for pause, latency in chunks:
        arrivals.setdefault(observed + latency, []).append(observed)
        observed += pause
    state, _ = step(CONFIG, GateState(), -1, Inbox(instruction="go", policy_instruction="go"))
    positions = [0.0]  # at the beginning of each tick
    for tick in range(observed + 8):
        now_ns = (tick + 1) * PERIOD_NS
        arrived = tuple(plan(stamp, path, positions[stamp]) for stamp in sorted(arrivals.get(tick, [])))
        state, command = step(CONFIG, state, now_ns, Inbox(chunks=arrived))
        positions.append(positions[-1] + command.delta[0])
        if state.last_row_ns == now_ns:
            schedule = state.schedule
            stamp, rows = schedule.chunk.stamp_ns // PERIOD_NS - 1, schedule.done_ns // PERIOD_NS
            assert rows == (now_ns - schedule.start_ns) // PERIOD_NS + 1
            stood = sum(position == after for position, after in itertools.pairwise(positions[stamp:-1]))
            assert schedule.start_ns <= schedule.chunk.stamp_ns + stood * PERIOD_NS
            assert positions[-1] == pytest.approx(path[stamp + rows - 1], abs=1e-6)


def plan(stamp: int, path: np.ndarray, position: float) -> ActionChunk:
    """From where the arm was at the beginning of tick `stamp` to the path, and along it."""
    actions = np.zeros((4, 7), np.float32)
    actions[:, 0] = np.diff(path[stamp : stamp + 4], prepend=position)
    chunk = make_chunk((stamp + 1) * PERIOD_NS)
    return dataclasses.replace(chunk, actions=actions)
