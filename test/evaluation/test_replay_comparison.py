"""Two answers to an image, to the last bit and in millimetres."""

from dataclasses import replace

import numpy as np
import pytest

from vla_ros.action import ACTION_NAMES
from vla_ros.data.recorded_chunk import RecordedChunk
from vla_ros.errors import ContractError
from vla_ros.evaluation.replay_comparison import Comparison, Pair

STAMP_NS = 1_700_000_000_050_000_000
ROWS = 4


def chunk(actions: np.ndarray | None = None, **changes: object) -> RecordedChunk:
    actions = np.zeros((ROWS, 7)) if actions is None else actions
    times_ns = np.arange(len(actions)) * 50_000_000
    fields = {"stamp_ns": STAMP_NS, "frame_id": "base", "names": ACTION_NAMES, "times_ns": times_ns, "actions": actions}
    return RecordedChunk(**{**fields, **changes})


def changed(row: int, column: int, value: float) -> RecordedChunk:
    actions = np.zeros((ROWS, 7))
    actions[row, column] = value
    return chunk(actions)


def compare(*pairs: tuple[RecordedChunk, RecordedChunk]) -> Comparison:
    return Comparison.of([Pair(recorded=recorded, replayed=replayed) for recorded, replayed in pairs])


def test_identical_is_to_the_last_bit() -> None:
    assert compare((chunk(), chunk())).is_identical
    assert compare((changed(0, 0, np.nan), changed(0, 0, np.nan))).is_identical
    assert not compare((chunk(), changed(0, 0, -0.0))).is_identical
    assert not compare((chunk(), changed(3, 6, 5e-324))).is_identical


def test_the_first_difference_is_named_with_its_image_row_dimension_and_size() -> None:
    found = compare((chunk(), chunk()), (chunk(), changed(2, 1, 0.0015)), (chunk(), changed(0, 0, 1.0)))
    assert (found.images, found.identical) == (3, 1)
    assert found.first_difference == ("image 1700000000.050000000 s, row 2, y: 0 mm recorded, 1.5 mm replayed, +1.5 mm")
    assert (
        "row 1, rx: 0 rad recorded, 0.5 rad replayed, +0.5 rad"
        in compare((chunk(), changed(1, 3, 0.5))).first_difference
    )


def test_differences_are_in_millimetres_and_degrees_and_a_gripper_disagrees_only_across_the_middle() -> None:
    found = compare(
        (chunk(), changed(0, 2, -0.004)), (chunk(), changed(1, 5, np.pi / 4)), (chunk(), changed(2, 6, 0.4))
    )
    assert found.gripper_flips == 0
    assert found.magnitudes()["z_mm"] == pytest.approx((4 / (3 * ROWS), 4))
    assert found.magnitudes()["rz_deg"] == pytest.approx((45 / (3 * ROWS), 45))
    assert found.magnitudes()["gripper"] == pytest.approx((0.4 / (3 * ROWS), 0.4))
    assert compare((chunk(), changed(2, 6, 0.6))).gripper_flips == 1


def test_of_chunks_of_other_sizes_the_rows_that_both_have_are_compared() -> None:
    found = compare((chunk(), chunk(np.zeros((ROWS - 1, 7)))))
    assert (found.identical, found.other_sizes, len(found.differences)) == (0, 1, ROWS - 1)
    assert found.first_difference.endswith("4 rows recorded, 3 replayed")


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"frame_id": "tool"}, "header.frame_id: expected base as recorded, got tool"),
        ({"names": ("x", "y", "z", "roll", "pitch", "yaw", "gripper")}, "joint_names: expected .* as recorded, got"),
        ({"times_ns": np.arange(ROWS) * 100_000_000}, "time_from_start: expected .* as recorded, got"),
    ],
)
def test_rows_that_mean_something_else_are_not_compared(other: dict[str, object], complaint: str) -> None:
    with pytest.raises(ContractError, match=f"chunk at 1700000000.050000000 s: {complaint}"):
        compare((chunk(), chunk(**other)))


def test_only_chunks_of_this_package_have_millimetres() -> None:
    joints = replace(chunk(), names=("a",), actions=np.zeros((ROWS, 1)))
    with pytest.raises(ContractError, match="joint_names: expected 7 of them, got"):
        compare((joints, joints))
