"""The gate's rules for chunk execution, holds, obstructions, gripper and pose."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from test.control.gate_fixtures import CONFIG, MS, PERIOD_NS, SPACE, make_chunk, make_motion
from vla_ros.action import ActionChunk, Command
from vla_ros.control.gate_config import ExecutionHorizon, GateConfig, HoldRules, PoseRules, executed_rows
from vla_ros.control.gate_state import GateState, Inbox, Mode
from vla_ros.control.limits import StepLimits, Workspace
from vla_ros.control.pose import Pose
from vla_ros.control.safety_gate import step
from vla_ros.errors import ContractError
from vla_ros.rotation import rotate

START = 1000 * MS
GO = Inbox(instruction="go", policy_instruction="go")
HERE = Pose(position_m=np.zeros(3), quaternion_xyzw=np.array([0.0, 0.0, 0.0, 1.0]))
POSE_RULES = PoseRules(is_in_tool_frame=False, timeout_ns=None, is_target=False)
WALL_AT_5_CM = Workspace(least_m=np.full(3, -np.inf), most_m=np.array([0.05, np.inf, np.inf]))


def changed(**changes: Any) -> GateConfig:
    return dataclasses.replace(CONFIG, **changes)


class Run:
    """A gate, tick by tick, that has an instruction."""

    def __init__(self, config: GateConfig, now_ns: int = START) -> None:
        self.config = config
        self.state, _ = step(config, GateState(), now_ns - config.tick_ns, GO)
        self.now_ns = now_ns - config.tick_ns

    def tick(self, *chunks: ActionChunk, **inbox: Any) -> Command:
        self.now_ns += self.config.tick_ns
        self.state, command = step(self.config, self.state, self.now_ns, Inbox(chunks=chunks, **inbox))
        return command

    def cm(self, *chunks: ActionChunk, **inbox: Any) -> float:
        return round(float(self.tick(*chunks, **inbox).delta[0]) * 100, 4)

    def chunk(self, **kwargs: Any) -> ActionChunk:
        """Stamped with the coming tick."""
        return make_chunk(self.now_ns + self.config.tick_ns, **kwargs)


# ---- execution ----


@pytest.mark.parametrize(
    ("horizon", "size", "rows"),
    [
        ("full", 10, 10),
        ("half", 10, 5),
        ("half", 5, 2),
        ("half", 2, 1),
        ("half", 1, 1),
        ("one", 10, 1),
        (3, 10, 3),
        (12, 10, 10),
    ],
)
def test_the_execution_horizon_in_rows(horizon: ExecutionHorizon, size: int, rows: int) -> None:
    assert executed_rows(horizon, size) == rows


@pytest.mark.parametrize(
    ("horizon", "moved"), [("full", [1, 2, 3, 4, 0]), ("half", [1, 2, 0, 0, 0]), ("one", [1] + [0] * 4)]
)
def test_rows_beyond_the_horizon_are_not_executed(horizon: ExecutionHorizon, moved: list[float]) -> None:
    run = Run(changed(execution_horizon=horizon))
    assert [run.cm(run.chunk())] + [run.cm() for _ in range(4)] == moved


def test_between_rows_the_commands_are_interpolated_to_the_controllers_period() -> None:
    """Five ticks of 20 ms a row: a fifth of the row each, the same displacement in all."""
    run = Run(changed(ticks_per_row=5))
    moved = [run.cm(run.chunk())] + [run.cm() for _ in range(21)]
    assert moved == [0.2] * 5 + [0.4] * 5 + [0.6] * 5 + [0.8] * 5 + [0, 0]
    assert (run.config.tick_ns, run.config.tick_s) == (20 * MS, 0.02)


def test_a_temporal_ensemble_commands_the_mean_of_what_the_chunks_want_now() -> None:
    run = Run(changed(overlap="temporal_ensemble", temporal_ensemble_coeff=0.0))
    assert run.cm(run.chunk(x0_m=0.01, slope_m=0.0)) == 1
    assert run.cm(run.chunk(x0_m=0.03, slope_m=0.0)) == 2
    assert run.cm(run.chunk(x0_m=0.08, slope_m=0.0)) == 4
    assert [run.cm() for _ in range(4)] == [4, 5.5, 8, 0]


def test_without_another_coefficient_older_chunks_weigh_a_little_more_as_in_act() -> None:
    """Weights of exp(0) and exp(-0.01) for 1 and 3 cm."""
    run = Run(changed(overlap="temporal_ensemble"))
    run.tick(run.chunk(x0_m=0.01, slope_m=0.0))
    assert run.cm(run.chunk(x0_m=0.03, slope_m=0.0)) == round((1 + 3 * np.exp(-0.01)) / (1 + np.exp(-0.01)), 4)


def test_a_chunk_has_a_say_up_to_its_last_row() -> None:
    run = Run(changed(overlap="temporal_ensemble", temporal_ensemble_coeff=0.0))
    moved = [run.cm(run.chunk(x0_m=cm / 100, slope_m=0.0)) for cm in (1, 2, 3, 6, 9)]
    assert moved == [1, 1.5, 2, 3, 5]  # at the last tick the first chunk is over: (2 + 3 + 6 + 9) / 4


def test_after_a_stop_the_temporal_ensemble_begins_anew() -> None:
    run = Run(changed(overlap="temporal_ensemble", temporal_ensemble_coeff=0.0))
    run.tick(run.chunk(x0_m=0.01, slope_m=0.0))
    run.tick(instruction="other", policy_instruction="other")
    assert run.cm(run.chunk(x0_m=0.03, slope_m=0.0)) == 3


# ---- limits ----


def test_rows_beyond_the_step_limits_are_cut_and_counted() -> None:
    run = Run(changed(steps=StepLimits(max_step_m=0.015, max_step_rad=1.0, max_clamped_fraction=0.75)))
    assert [run.cm(run.chunk()), run.cm(), run.cm()] == [1, 1.5, 1.5]
    assert run.state.counts == {"steps clamped": 3}


def test_a_chunk_with_too_many_rows_beyond_the_step_limits_is_a_fault() -> None:
    run = Run(changed(steps=StepLimits(max_step_m=0.015, max_step_rad=1.0, max_clamped_fraction=0.7)))
    assert run.cm(run.chunk()) == 0
    assert run.state.text == ("FAULT: chunk: 3 of 4 rows beyond max_step_m or max_step_rad; mend it, then call ~/reset")


def test_an_arm_that_may_only_accelerate_so_hard_arrives_where_the_chunk_wants_it_and_stays_there() -> None:
    """8 cm in the first row, nothing in the others; 1 cm of change a tick: up, down again, and no further."""
    run = Run(changed(execution_horizon="full", motion=make_motion(linear_acceleration=1.0)))
    chunk = run.chunk(rows=20, x0_m=0.0, slope_m=0.0)
    chunk.actions[0, 0] = 0.08
    moved = [run.cm(chunk)] + [run.cm() for _ in range(19)]
    assert moved[:2] == [1, 2]
    assert np.abs(np.diff([0, *moved])).max() <= 1 + 1e-6
    assert sum(moved) == pytest.approx(8, abs=1e-3)
    assert min(moved) >= -1e-6
    assert moved[-5:] == [0] * 5


def test_towards_a_wall_the_arm_slows_down_as_hard_as_it_may() -> None:
    """At sqrt(3) m/s^2 the first step is sqrt(3) cm; a wall allows 1 cm of change a tick: 6 cm before it, 3 + 2 + 1."""
    config = changed(workspace=WALL_AT_5_CM, pose=POSE_RULES, motion=make_motion(linear_acceleration=np.sqrt(3)))
    run = Run(config)
    start = dataclasses.replace(HERE, position_m=np.array([-0.01 - np.sqrt(3) / 100, 0.0, 0.0]))
    moved = [run.cm(run.chunk(x0_m=0.08, slope_m=0.0), pose=start)] + [run.cm() for _ in range(3)]
    assert moved == [1.7321, 3, 2, 1]


def test_walls_stand_still_while_the_tool_turns() -> None:
    """A quarter turn about z: 9 cm along the tool's -y are 9 cm along the base's x, at whose 5 cm the wall is."""
    turned = Pose(position_m=np.zeros(3), quaternion_xyzw=np.array([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)]))
    run = Run(changed(workspace=WALL_AT_5_CM, pose=dataclasses.replace(POSE_RULES, is_in_tool_frame=True)))
    chunk = run.chunk()
    chunk.actions[:, :3] = [0.0, -0.09, 0.0]
    command = run.tick(chunk, pose=turned)
    np.testing.assert_allclose(command.delta[:3], [0.0, -0.05, 0.0], atol=1e-9)
    assert run.state.pose is not None
    np.testing.assert_allclose(run.state.pose.position_m, [0.05, 0.0, 0.0], atol=1e-9)


def test_a_pose_is_turned_as_the_robots_rotation_says() -> None:
    """A third of a turn about (1, 1, 1): x goes to y."""
    run = Run(changed(pose=POSE_RULES, motion=make_motion(angular=30.0)))
    chunk = run.chunk()
    chunk.actions[0, 3:6] = 2 * np.pi / 3 / np.sqrt(3)
    run.tick(chunk, pose=HERE)
    assert run.state.pose is not None
    np.testing.assert_allclose(rotate(run.state.pose.quaternion_xyzw, np.eye(3)[0]), [0, 1, 0], atol=1e-6)


def test_after_a_wall_the_arm_is_where_the_policy_wants_it_again() -> None:
    """4 + 4 cm out and 4 + 4 cm back: at the wall from 5 cm on, and never more back than the policy came in."""
    run = Run(changed(workspace=WALL_AT_5_CM, pose=POSE_RULES))
    chunk = run.chunk()
    chunk.actions[:, 0] = [0.04, 0.04, -0.04, -0.04]
    assert [run.cm(chunk, pose=HERE)] + [run.cm() for _ in range(3)] == [4, 1, -1, -4]
    assert run.state.counts == {"clamped by the workspace": 1}
    assert run.state.pose is not None
    np.testing.assert_allclose(run.state.pose.position_m, 0, atol=1e-9)


# ---- holds ----


def test_a_held_arm_slows_down_evenly_within_its_ticks() -> None:
    run = Run(changed(hold=dataclasses.replace(CONFIG.hold, stop_ticks=4)))
    for _ in range(2):
        run.tick(run.chunk(x0_m=0.04, slope_m=0.0))
        for _ in range(3):
            run.tick()
        assert [run.cm() for _ in range(6)] == [3, 2, 1, 0, 0, 0]
        assert run.state.mode is Mode.HOLD


def test_a_slowing_arm_keeps_its_gripper_and_its_pose_is_followed() -> None:
    run = Run(changed(hold=dataclasses.replace(CONFIG.hold, stop_ticks=4), pose=POSE_RULES))
    run.tick(run.chunk(rows=3, x0_m=0.04, slope_m=0.0), pose=HERE)
    run.tick()
    assert run.tick().gripper == 1.0
    assert [run.tick().gripper for _ in range(4)] == [1.0] * 4
    assert position_cm(run) == 4 + 4 + 4 + 3 + 2 + 1


@pytest.mark.parametrize(
    "stop",
    [{"emergency_stop": True}, {"fault": "two publishers"}, {"instruction": "other", "policy_instruction": "go"}],
)
def test_a_fault_and_a_new_instruction_stop_at_once(stop: dict[str, Any]) -> None:
    run = Run(changed(hold=dataclasses.replace(CONFIG.hold, stop_ticks=4)))
    run.tick(run.chunk(x0_m=0.04, slope_m=0.0))
    assert [run.cm(**stop), run.cm(), run.cm()] == [0, 0, 0]


def test_what_a_slowing_arm_makes_is_not_done_again_by_the_next_chunk() -> None:
    """3 + 2 cm after the chunk's end; the next image is from before them, and its chunk wants 4 cm a row."""
    run = Run(changed(hold=dataclasses.replace(CONFIG.hold, stop_ticks=4)))
    run.tick(run.chunk(x0_m=0.04, slope_m=0.0))
    for _ in range(3):
        run.tick()
    late = run.chunk(x0_m=0.04, slope_m=0.0)
    assert [run.cm(), run.cm()] == [3, 2]
    assert run.cm(late) == 4 + 4 + 4 - 3 - 2


def recovering(run: Run) -> list[bool]:
    """Whether each of seven ticks with a new chunk moves."""
    return [not run.tick(run.chunk()).is_stop for _ in range(7)]


def test_a_hold_ends_once_good_chunks_have_been_arriving_for_long_enough() -> None:
    run = Run(changed(hold=HoldRules(stop_ticks=0, min_recovery_ns=3 * PERIOD_NS, max_per_minute=9)))
    run.tick(run.chunk())
    for _ in range(10):
        run.tick()
    assert run.state.mode is Mode.HOLD
    assert recovering(run) == [False, False, False, True, True, True, True]
    assert run.state.counts["dropped: recovering from a hold"] == 3


def test_a_refused_chunk_or_a_pause_begins_the_recovery_anew() -> None:
    run = Run(changed(hold=HoldRules(stop_ticks=0, min_recovery_ns=3 * PERIOD_NS, max_per_minute=9)))
    run.tick(run.chunk())
    for _ in range(10):
        run.tick()
    run.tick(run.chunk())
    run.tick(run.chunk(frame_id="world"))
    assert recovering(run) == [False, False, False, True, True, True, True]
    for _ in range(10):
        run.tick()
    run.tick(run.chunk())
    for _ in range(4):  # more than the chunk timeout of three periods
        run.tick()
    assert recovering(run) == [False, False, False, True, True, True, True]


def test_a_pause_no_longer_than_the_chunk_timeout_does_not_begin_the_recovery_anew() -> None:
    run = Run(changed(hold=HoldRules(stop_ticks=0, min_recovery_ns=3 * PERIOD_NS, max_per_minute=9)))
    hold(run)
    assert run.tick(run.chunk()).is_stop
    run.tick()
    run.tick()
    assert not run.tick(run.chunk()).is_stop


def test_every_hold_has_a_recovery_of_its_own() -> None:
    run = Run(changed(hold=HoldRules(stop_ticks=0, min_recovery_ns=3 * PERIOD_NS, max_per_minute=9)))
    hold(run)
    assert [run.tick(run.chunk()).is_stop for _ in range(4)] == [True, True, True, False]
    run.tick(timed_out=True)
    assert recovering(run) == [False, False, False, True, True, True, True]


def hold(run: Run) -> None:
    """One chunk, and then none until the arm is held."""
    run.tick(run.chunk())
    for _ in range(7):
        run.tick()


def test_more_holds_within_a_minute_than_allowed_are_a_fault() -> None:
    run = Run(changed(hold=HoldRules(stop_ticks=0, min_recovery_ns=0, max_per_minute=2)))
    modes = []
    for _ in range(3):
        hold(run)
        modes.append(run.state.mode)
    assert modes == [Mode.HOLD, Mode.HOLD, Mode.FAULT]
    assert "held 3 times within a minute, the last time: no chunk for 0.40 s" in run.state.reason


def test_holds_of_more_than_a_minute_ago_count_no_more_and_neither_do_those_before_a_reset() -> None:
    run = Run(changed(hold=HoldRules(stop_ticks=0, min_recovery_ns=0, max_per_minute=1)))
    hold(run)
    run.now_ns += 60 * 10**9
    hold(run)
    assert run.state.mode is Mode.HOLD
    hold(run)
    assert run.state.mode is Mode.FAULT
    run.tick(reset=True, instruction="go")
    hold(run)
    assert run.state.mode is Mode.HOLD


@pytest.mark.parametrize(("apart_ns", "mode"), [(60 * 10**9, Mode.HOLD), (60 * 10**9 - 1, Mode.FAULT)])
def test_a_minute_is_over_after_exactly_a_minute(apart_ns: int, mode: Mode) -> None:
    run = Run(changed(hold=HoldRules(stop_ticks=0, min_recovery_ns=0, max_per_minute=1)))
    run.tick(run.chunk())
    run.tick(timed_out=True)
    run.now_ns += apart_ns - 2 * PERIOD_NS
    run.tick(run.chunk())
    run.tick(timed_out=True)
    assert run.state.mode is mode


def test_every_exit_from_run_leaves_a_snapshot() -> None:
    run = Run(CONFIG)
    run.tick(run.chunk())
    run.tick()
    assert run.state.last_exit is None
    run.tick(instruction="other")
    snapshot = run.state.last_exit
    assert snapshot is not None
    assert snapshot.as_dict() == {
        "time_ns": START + 2 * PERIOD_NS,
        "mode": "ARMED",
        "reason": "new instruction, waiting for a chunk",
        "instruction": "other",
        "chunk_stamp_ns": START,
        "done_ns": 2 * PERIOD_NS,
        "owed": [0.0] * 6,
        "last_delta": pytest.approx([0.02, 0, 0, 0, 0, 0]),
        "counts": {},
    }
    run.tick(instruction="third")  # not from RUN
    assert run.state.last_exit is snapshot


@pytest.mark.parametrize(
    ("instruction", "policy_instruction", "agreed"),
    [("go", "go", "go"), ("go", "other", ""), ("go", None, ""), (None, "go", ""), (None, None, "")],
)
def test_the_instruction_that_gate_and_policy_agree_on(
    instruction: str | None, policy_instruction: str | None, agreed: str
) -> None:
    state = GateState(instruction=instruction, policy_instruction=policy_instruction)
    assert state.agreed_instruction == agreed


# ---- what is in the way ----


def test_while_something_is_in_the_way_nothing_moves_and_no_chunk_waits() -> None:
    run = Run(CONFIG)
    assert run.cm(run.chunk(), blocked="nobody listens on delta_twist_cmds") == 0
    assert run.state.text == "ARMED: nobody listens on delta_twist_cmds"
    assert run.state.counts == {"dropped: nobody listens on delta_twist_cmds": 1}
    assert run.cm(blocked="") == 0
    assert run.state.text == "ARMED: waiting for a chunk"
    assert run.cm(run.chunk()) == 1


def test_what_comes_in_the_way_in_mid_chunk_holds_the_arm_and_the_chunk_never_goes_on() -> None:
    run = Run(CONFIG)
    run.tick(run.chunk())
    assert run.cm(blocked="nobody listens") == 0
    assert run.state.text == "HOLD: nobody listens"
    assert run.cm(blocked="") == 0
    assert run.state.text == "HOLD: nobody listens"
    assert run.cm(run.chunk()) == 1


def test_a_chunk_that_waits_for_its_time_when_something_comes_in_the_way_never_runs() -> None:
    run = Run(CONFIG)
    ahead = make_chunk(run.now_ns + PERIOD_NS + 40 * MS)
    assert run.cm(ahead) == 0
    assert run.state.schedule.chunk is ahead
    assert run.cm(blocked="nobody listens") == 0
    assert run.cm(blocked="") == 0
    assert run.state.schedule.chunk is None
    assert run.cm(ahead) == 0


def test_an_image_from_while_something_was_in_the_way_counts_once_the_way_is_free() -> None:
    """Nothing moved meanwhile: the arm is where it was seen."""
    run = Run(CONFIG)
    run.tick(blocked="nobody listens")
    chunk = run.chunk()
    run.tick()
    run.tick(blocked="")
    assert run.cm(chunk) == 1


def test_without_an_instruction_that_remains_the_reason_once_the_way_is_free() -> None:
    state, _ = step(CONFIG, GateState(), START, Inbox(blocked="nobody listens"))
    assert state.text == "ARMED: nobody listens"
    state, _ = step(CONFIG, state, START + PERIOD_NS, Inbox(blocked=""))
    assert state.text == "ARMED: waiting for an instruction"


def test_where_a_pose_is_needed_nothing_moves_before_one_is_known() -> None:
    run = Run(changed(pose=POSE_RULES))
    assert run.cm(run.chunk()) == 0
    assert run.state.text == "ARMED: waiting for the end effector's pose"
    assert run.cm(run.chunk(), pose=HERE) == 1


def test_a_measured_pose_that_stops_coming_holds_the_arm() -> None:
    run = Run(changed(pose=dataclasses.replace(POSE_RULES, timeout_ns=PERIOD_NS)))
    assert [run.cm(run.chunk(), pose=HERE), run.cm(), run.cm()] == [1, 2, 0]
    assert run.state.text == "HOLD: no pose of the end effector for 0.1 s"


def test_a_target_is_not_lost_while_measured_poses_come() -> None:
    run = Run(changed(pose=PoseRules(is_in_tool_frame=False, timeout_ns=PERIOD_NS, is_target=True)))
    moved = [run.cm(run.chunk(), pose=HERE)] + [run.cm(pose=HERE) for _ in range(3)]
    assert moved == [1, 2, 3, 4]


def test_a_pose_from_before_a_clock_went_back_ages_from_then_on() -> None:
    run = Run(changed(pose=dataclasses.replace(POSE_RULES, timeout_ns=PERIOD_NS)))
    run.tick(run.chunk(), pose=HERE)
    run.now_ns -= 3600 * 10**9
    run.tick()
    assert run.state.obstruction == ""
    run.tick()
    run.tick()
    assert run.state.obstruction == "no pose of the end effector for 0.1 s"


def test_a_pose_that_nobody_asked_for_changes_nothing() -> None:
    run = Run(CONFIG)
    assert run.cm(run.chunk(), pose=HERE) == 1
    assert run.state.pose is HERE


def position_cm(run: Run) -> float:
    assert run.state.pose is not None
    return round(float(run.state.pose.position_m[0]) * 100, 4)


def test_a_target_follows_the_commands_and_not_the_arm_that_lags_behind_them() -> None:
    run = Run(changed(pose=dataclasses.replace(POSE_RULES, is_target=True)))
    run.tick(run.chunk(), pose=HERE)
    run.tick(pose=HERE)
    assert position_cm(run) == 1 + 2
    for _ in range(4):
        run.tick()
    run.tick(pose=HERE)  # still in RUN: the arm may not have arrived
    assert position_cm(run) == 1 + 2 + 3 + 4
    for _ in range(4):
        run.tick()
    run.tick(pose=HERE)
    assert position_cm(run) == 0


def test_a_measured_pose_is_where_the_arm_is_where_it_is_commanded_velocities() -> None:
    run = Run(changed(pose=POSE_RULES))
    run.tick(run.chunk(), pose=HERE)
    run.tick(pose=HERE)
    assert position_cm(run) == 2


def test_a_workspace_without_a_pose_is_refused() -> None:
    with pytest.raises(ContractError, match=r"^workspace: expected a source of the end effector's pose, got none$"):
        changed(workspace=WALL_AT_5_CM)


def test_euler_angles_of_a_frame_that_turns_are_refused() -> None:
    rotation = dataclasses.replace(SPACE, rotation="euler_xyz")
    message = r"^rotation: expected axis_angle for deltas in the end effector's frame, got euler_xyz$"
    with pytest.raises(ContractError, match=message):
        changed(action_space=rotation, pose=dataclasses.replace(POSE_RULES, is_in_tool_frame=True))


# ---- gripper ----


def grippers(config: GateConfig, rows: list[float]) -> list[float | None]:
    run = Run(config)
    chunk = run.chunk(rows=len(rows))
    chunk.actions[:, 6] = rows
    return [run.tick(chunk).gripper] + [run.tick().gripper for _ in range(len(rows) * config.ticks_per_row - 1)]


def test_the_gripper_changes_after_so_many_rows_in_succession_that_agree() -> None:
    config = changed(execution_horizon="full", gripper_samples_to_open=2, gripper_samples_to_close=3)
    assert grippers(config, [1, 0, 0, 1, 0, 0, 0, 0]) == [1, 1, 1, 1, 1, 1, 0, 0]
    assert grippers(config, [0, 1, 0, 1, 1, 1, 0, 1]) == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_row_is_one_sample_however_many_commands_it_makes() -> None:
    config = changed(execution_horizon="full", gripper_samples_to_close=2, ticks_per_row=2)
    assert grippers(config, [1, 0, 1, 0, 0]) == [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    assert grippers(changed(execution_horizon="full", ticks_per_row=2), [1, 0, 1]) == [1, 1, 0, 0, 1, 1]


def test_an_opening_that_stays_on_its_side_of_a_half_is_followed() -> None:
    config = changed(execution_horizon="full", gripper_samples_to_open=3, gripper_samples_to_close=1)
    assert grippers(config, [1, 0.75, 0.5, 0.25, 0.5, 0.5, 0.5]) == [1, 0.75, 0.5, 0.25, 0.25, 0.25, 0.5]
    assert grippers(config, [0.5, 0.75]) == [0.5, 0.75]  # half open is open


def test_votes_do_not_outlive_a_stop() -> None:
    run = Run(changed(gripper_samples_to_close=2))
    run.tick(run.chunk())  # open, closed, …
    run.tick()
    run.tick(instruction="other", policy_instruction="other")
    chunk = run.chunk()
    chunk.actions[:, 6] = [0, 0, 0, 0]
    assert [run.tick(chunk).gripper, run.tick().gripper] == [1, 0]


# ---- configuration ----


@pytest.mark.parametrize(
    "name",
    [
        "ticks_per_row",
        "execution_horizon",
        "chunk_timeout_ns",
        "gripper_samples_to_open",
        "gripper_samples_to_close",
    ],
)
def test_numbers_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ContractError, match=f"{name}: expected > 0, got 0"):
        changed(**{name: 0})


@pytest.mark.parametrize("name", ["stop_ticks", "min_recovery_ns", "max_per_minute"])
def test_hold_rules_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ContractError, match=f"{name}: expected >= 0, got -1"):
        dataclasses.replace(CONFIG.hold, **{name: -1})


# ---- what a cold look found ----


@pytest.mark.parametrize("acceleration", [1.0, 2.0, 20.0])
def test_a_late_policy_that_wants_an_even_motion_gets_one(acceleration: float) -> None:
    """It sees the arm 250 ms late and wants it on a path of 10 cm/s; ten commands a row: no chunk switch is felt."""
    run = Run(changed(ticks_per_row=10, execution_horizon="full", motion=make_motion(linear_acceleration=acceleration)))
    positions_cm = [0.0] * 26  # at the beginning of each tick
    for tick in range(300):
        chunks = ()
        if tick % 20 == 0:
            seen = len(positions_cm) - 1 - 25
            chunk = make_chunk(run.now_ns + run.config.tick_ns - 250 * MS, rows=8, x0_m=0.01, slope_m=0.0)
            chunk.actions[0, 0] += (0.1 * seen - positions_cm[seen]) / 100
            chunks = (chunk,)
        positions_cm.append(positions_cm[-1] + run.cm(*chunks))
    moved = np.diff(positions_cm)[-150:]
    assert moved == pytest.approx(np.full(150, 0.1), abs=1e-3)


def test_a_policy_that_holds_holds_the_arm_by_the_rules_of_holds() -> None:
    rules = HoldRules(stop_ticks=2, min_recovery_ns=3 * PERIOD_NS, max_per_minute=1)
    run = Run(changed(hold=rules))
    run.tick(run.chunk(x0_m=0.04, slope_m=0.0))
    assert [run.cm(policy_instruction=""), run.cm()] == [2, 0]
    assert run.state.text == "HOLD: policy_node holds"
    assert run.state.last_exit is not None
    run.tick(policy_instruction="go")
    assert recovering(run) == [False, False, False, True, True, True, True]
    run.tick(policy_instruction="")
    assert run.state.mode is Mode.FAULT


def test_a_policy_with_another_instruction_stops_the_arm_at_once_and_that_is_no_hold() -> None:
    run = Run(changed(hold=HoldRules(stop_ticks=4, min_recovery_ns=0, max_per_minute=0)))
    run.tick(run.chunk(x0_m=0.04, slope_m=0.0))
    assert run.cm(policy_instruction="other") == 0
    assert run.state.text == "ARMED: policy_node has another instruction"


def test_a_second_fault_changes_neither_reason_nor_epoch() -> None:
    run = Run(CONFIG)
    run.tick(emergency_stop=True)
    former = run.state
    run.tick(fault="two publishers")
    assert (run.state.reason, run.state.epoch) == (former.reason, former.epoch)


def test_a_clock_that_jumps_ahead_in_mid_chunk_is_a_hold() -> None:
    """Longer than the timeout and than five ticks, and the chunk still has rows."""
    run = Run(changed(execution_horizon="full", chunk_timeout_ns=PERIOD_NS))
    run.tick(run.chunk(rows=20))
    run.now_ns += 4 * PERIOD_NS
    assert run.cm() > 0
    run.now_ns += 5 * PERIOD_NS
    assert run.cm() == 0
    assert run.state.text == "HOLD: no tick for 0.60 s: the clock jumped, or the process stood still"


@pytest.mark.parametrize("age_ms", [30, 100, 190])
def test_a_wall_holds_however_old_a_measured_pose_is(age_ms: int) -> None:
    """An arm that does what it is told at 0.25 m/s; each pose is from `age_ms` before."""
    rules = dataclasses.replace(POSE_RULES, timeout_ns=200 * MS)
    motion = make_motion(linear=0.25, linear_acceleration=1.0)
    config = changed(ticks_per_row=10, execution_horizon="full", motion=motion, pose=rules, workspace=WALL_AT_5_CM)
    run, positions = Run(config), [0.0]
    for tick in range(200):
        past = max(len(positions) - 1 - age_ms // 10, 0)
        stamp_ns = run.now_ns + config.tick_ns - (len(positions) - 1 - past) * config.tick_ns
        pose = dataclasses.replace(HERE, position_m=np.array([positions[past], 0.0, 0.0]))
        chunks = (run.chunk(rows=8, x0_m=0.025, slope_m=0.0),) if tick % 10 == 0 else ()
        positions.append(positions[-1] + float(run.tick(*chunks, pose=pose, pose_stamp_ns=stamp_ns).delta[0]))
    assert max(positions) <= 0.05 + 1e-6
    assert positions[-1] == pytest.approx(0.05, abs=1e-4)


def test_a_pose_counts_from_when_it_was_measured() -> None:
    run = Run(changed(pose=dataclasses.replace(POSE_RULES, timeout_ns=2 * PERIOD_NS)))
    run.tick(run.chunk(), pose=HERE, pose_stamp_ns=run.now_ns - PERIOD_NS)
    run.tick()
    assert run.state.text == "HOLD: no pose of the end effector for 0.2 s"


def test_in_a_fault_a_target_follows_the_measured_pose_that_it_is_given() -> None:
    run = Run(changed(pose=dataclasses.replace(POSE_RULES, is_target=True)))
    run.tick(run.chunk(), pose=HERE)
    run.tick(emergency_stop=True)
    there = dataclasses.replace(HERE, position_m=np.array([0.3, 0.0, 0.0]))
    run.tick(pose=there)
    assert position_cm(run) == 30


def test_a_pose_as_old_as_it_may_be_has_all_that_was_commanded_since_it_was_measured() -> None:
    """Longer ago than any row lasts that a chunk could still owe."""
    run = Run(changed(execution_horizon="one", pose=dataclasses.replace(POSE_RULES, timeout_ns=20 * PERIOD_NS)))
    run.tick(run.chunk(), pose=HERE)
    for _ in range(19):
        run.tick(run.chunk())
    run.tick(run.chunk(), pose=HERE, pose_stamp_ns=run.now_ns - 19 * PERIOD_NS)
    assert position_cm(run) == 20 + 1  # and the one of this tick


def test_what_was_turned_since_a_pose_was_measured_is_turned_one_after_the_other() -> None:
    """A quarter turn about x, then one about z: the tool's z comes to lie along the base's x."""
    rules = dataclasses.replace(POSE_RULES, timeout_ns=5 * PERIOD_NS)
    run = Run(changed(pose=rules, motion=make_motion(angular=30.0)))
    chunk = run.chunk()
    chunk.actions[:, :6] = 0.0
    chunk.actions[0, 3], chunk.actions[1, 5] = np.pi / 2, np.pi / 2
    run.tick(chunk, pose=HERE)
    run.tick()
    run.tick(pose=HERE, pose_stamp_ns=run.now_ns - PERIOD_NS)
    assert run.state.pose is not None
    np.testing.assert_allclose(rotate(run.state.pose.quaternion_xyzw, np.eye(3)[2]), [1, 0, 0], atol=1e-6)


def test_a_target_of_an_arm_that_slows_down_is_not_moved_by_what_is_measured() -> None:
    hold = dataclasses.replace(CONFIG.hold, stop_ticks=4)
    run = Run(changed(hold=hold, pose=dataclasses.replace(POSE_RULES, is_target=True)))
    run.tick(run.chunk(x0_m=0.04, slope_m=0.0), pose=HERE)
    assert run.cm(policy_instruction="") == 3
    assert run.state.mode is Mode.HOLD
    assert run.cm(pose=HERE) == 2
    assert position_cm(run) == 4 + 3 + 2
