"""Damaged chunk messages: each is refused whole, in one line, or is a chunk that a gate may be given."""

import random
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Duration, Time
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from test.control.gate_fixtures import CONFIG, MS, PERIOD_NS, make_chunk
from test.fuzz.mutations import NUMBERS
from vla_ros.control.gate_state import GateState, Inbox, Mode
from vla_ros.control.safety_gate import step
from vla_ros.errors import ContractError
from vla_ros.node.messages import chunk_from_trajectory, trajectory_from_chunk

COUNT = 10_000
FLOATS = [float(number) for number in NUMBERS]


def damage(message: JointTrajectory, random_: random.Random) -> None:
    """Change one thing."""
    point: JointTrajectoryPoint = random_.choice(message.points) if message.points else JointTrajectoryPoint()
    positions = list(point.positions)
    kind = random_.randrange(10)
    if kind == 0:
        message.joint_names = random_.choice(
            [[], ["x"] * 7, [*message.joint_names, "x"], list(reversed(message.joint_names))]
        )
    elif kind == 1:
        message.points = random_.choice([[], message.points[:1], message.points * 2, list(reversed(message.points))])
    elif kind == 2:
        point.positions = random_.choice([[], positions[:3], [*positions, 0.0]])
    elif kind == 3:
        point.time_from_start = Duration(
            sec=random_.choice([-(2**31), -1, 0, 1, 2**31 - 1]), nanosec=random_.choice([0, 1, 2**32 - 1])
        )
    elif kind == 4:
        message.header.frame_id = random_.choice(["", "world", "a" * 1000, "\x00"])
    elif kind == 5:
        message.header.stamp = Time(
            sec=random_.choice([-(2**31), -1, 0, 2**31 - 1]), nanosec=random_.choice([0, 2**32 - 1])
        )
    elif positions:
        positions[random_.randrange(len(positions))] = random_.choice(FLOATS)
        point.positions = positions


def read(message: JointTrajectory) -> dict[str, Any]:
    """As the node does: an inbox with the chunk, or with why it was refused."""
    try:
        return {"chunks": (chunk_from_trajectory(message, PERIOD_NS),)}
    except ContractError as error:
        assert "\n" not in str(error)
        return {"refused": (str(error),)}


def test_ten_thousand_damaged_chunks_never_make_a_gate_command_what_it_may_not() -> None:
    random_ = random.Random(0)
    start_ns = 10**12
    state, _ = step(CONFIG, GateState(), start_ns - 1, Inbox(instruction="go", policy_instruction="go"))
    refused, moved = 0, 0
    for count in range(COUNT):
        now_ns = start_ns + count * PERIOD_NS
        message = trajectory_from_chunk(make_chunk(now_ns - 10 * MS))
        if random_.random() < 0.9:
            for _ in range(random_.randint(1, 2)):
                damage(message, random_)
        inbox = read(message)
        refused += "refused" in inbox
        state, command = step(CONFIG, state, now_ns, Inbox(**inbox))
        assert np.isfinite(command.delta).all()
        assert np.linalg.norm(command.delta[:3]) <= CONFIG.motion.max_linear_speed_m_s * PERIOD_NS / 1e9 + 1e-9
        assert command.gripper is None or 0 <= command.gripper <= 1
        moved += not command.is_stop
        if state.mode is Mode.FAULT:
            state, _ = step(CONFIG, state, now_ns, Inbox(reset=True))
            state, _ = step(CONFIG, state, now_ns, Inbox(instruction="go"))
    assert refused > COUNT / 4
    assert moved > COUNT / 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e308, -1e308])
@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("column", range(7))
def test_one_number_that_float32_cannot_hold_refuses_the_whole_chunk(row: int, column: int, bad: float) -> None:
    message = trajectory_from_chunk(make_chunk(10**12))
    positions = list(message.points[row].positions)
    positions[column] = bad
    message.points[row].positions = positions
    with pytest.raises(ContractError, match=r"expected (a finite number|\[0, 1\])"):
        chunk_from_trajectory(message, PERIOD_NS)


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("column", range(7))
def test_a_denormal_number_is_a_number(row: int, column: int) -> None:
    message = trajectory_from_chunk(make_chunk(10**12))
    positions = list(message.points[row].positions)
    positions[column] = 5e-324
    message.points[row].positions = positions
    assert chunk_from_trajectory(message, PERIOD_NS).actions[row, column] == 0
