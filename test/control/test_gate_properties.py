"""Invariants of the gate under any order of messages and ticks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from test.control.gate_fixtures import CONFIG, MS, PERIOD_NS, make_chunk
from vla_ros.control.chunk_scheduler import JITTER
from vla_ros.control.safety_gate import GateState, Inbox, Mode, step

EVENTS = st.one_of(
    st.none(),
    st.tuples(st.just("chunk"), st.integers(-8, 2)),
    st.tuples(st.just("instruction"), st.sampled_from(["a", "b", ""])),
    st.tuples(st.just("policy_instruction"), st.sampled_from(["a", "b", ""])),
    st.tuples(st.just("fault"), st.just("a fault")),
    st.tuples(st.just("emergency_stop"), st.booleans()),
    st.tuples(st.just("reset"), st.just(True)),
    st.tuples(st.just("timed_out"), st.just(True)),
)
TICKS = st.lists(st.tuples(st.sampled_from([0, 20, 99, 100, 101, 350, -50]), EVENTS), max_size=60)
LIMIT_M = CONFIG.limits.max_linear_speed_m_s / CONFIG.action_space.control_rate_hz


@settings(max_examples=200, deadline=None)
@given(TICKS)
def test_whatever_happens_no_row_runs_twice_late_or_from_before_a_stop(ticks: list) -> None:
    state, now_ns, ran = GateState(), 10_000 * MS, set()
    for elapsed_ms, event in ticks:
        now_ns += elapsed_ms * MS
        kwargs = {}
        if event is not None:
            name, value = event
            kwargs = {name: value} if name != "chunk" else {"chunks": (make_chunk(now_ns + value * PERIOD_NS // 4),)}
        before = state
        state, command = step(CONFIG, state, now_ns, Inbox(**kwargs))
        assert np.isfinite(command.delta).all()
        assert np.linalg.norm(command.delta[:3]) <= LIMIT_M
        assert state.epoch >= before.epoch
        if command.is_stop:
            assert command.gripper == before.gripper
            continue
        assert state.mode is Mode.RUN
        assert state.instruction
        assert not state.is_emergency
        chunk = state.schedule.chunk
        row = state.schedule.next_row - 1
        assert abs(now_ns - chunk.stamp_ns - (row + 0.5) * PERIOD_NS) <= (0.5 + JITTER) * PERIOD_NS
        assert (state.epoch, chunk.stamp_ns, row) not in ran
        assert row < CONFIG.execution_horizon
        assert chunk.stamp_ns > state.newer_than_ns
        ran.add((state.epoch, chunk.stamp_ns, row))
