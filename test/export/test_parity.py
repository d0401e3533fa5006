"""The distance between an export and torch, by hand."""

import dataclasses
import json

import numpy as np
import pytest

from test.export.parity_cases import answers, degrees, measure, to_actions
from vla_ros.action import ACTION_NAMES
from vla_ros.config import build
from vla_ros.errors import EngineError
from vla_ros.export.parity import TOLERANCES, Parity, Tolerance, check, shown, table

INT8 = TOLERANCES["int8"]


def test_errors_are_in_mm_and_degrees_and_the_worst_case_names_its_frame() -> None:
    parity = measure(*answers(y={(0, 0): 0.001, (2, 1): -0.002}, rz={(1, 0): degrees(1.5)}))
    y, rz = parity.errors["y"], parity.errors["rz"]
    assert (y.unit, y.worst_frame, rz.unit, rz.worst_frame) == ("mm", 2, "deg", 1)
    # six values: four zeros, 1 mm and 2 mm; 99 % lies 0.95 of the way from the second largest to the largest
    assert (y.mean, y.p99, y.worst) == pytest.approx((0.5, 1.95, 2.0), rel=1e-4)
    assert rz.worst == pytest.approx(1.5, rel=1e-4)
    assert parity.errors["x"].worst == 0
    assert (parity.worst("mm"), parity.worst("deg")) == (y.worst, rz.worst)


def test_the_worst_frame_is_the_farthest_off_as_a_share_of_the_range() -> None:
    # a range is 10 mm or 5.7 degrees: 4 mm are more of it than 2 degrees, which are more than 2 mm
    assert measure(*answers(x={(1, 0): 0.004}, rx={(2, 0): degrees(2)})).worst_frame == 1
    assert measure(*answers(x={(1, 0): 0.002}, rx={(2, 0): degrees(2)})).worst_frame == 2


def test_what_the_robot_never_sees_is_no_error() -> None:
    """Outputs beyond [-1, 1] are clipped to the ends of the range."""
    reference, outputs = answers()
    reference[0, 0, 0], outputs[0, 0, 0], outputs[2, 0, 0] = 1.0, 3.0, 0.26
    parity = measure(reference, outputs)
    assert parity.worst_frame == 2
    assert parity.errors["x"].worst == pytest.approx(0.1, rel=1e-4)


def test_gripper_values_that_flip_are_counted() -> None:
    reference, outputs = answers()
    outputs[0, 0, 6], outputs[1, 1, 6], outputs[2, 0, 6] = -0.1, -5.0, 9.0
    parity = measure(reference, outputs)
    assert (parity.gripper_flips, parity.gripper_values) == (2, 6)
    assert parity.gripper_share == pytest.approx(1 / 3)


def test_the_cosine_is_of_whole_chunks() -> None:
    reference = np.zeros((3, 1, 7), np.float32)
    outputs = reference.copy()
    reference[0, 0, 0], outputs[0, 0, 1] = 2, 3  # at right angles
    reference[1, 0, :2], outputs[1, 0, 0] = 1, 5  # at 45 degrees; of the third, both are zero
    parity = measure(reference, outputs)
    assert parity.cosine_least == 0
    assert parity.cosine_mean == pytest.approx((0 + 0.5**0.5 + 1) / 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("who", "name"), [(0, "torch"), (1, "onnx_cpu")])
def test_what_is_no_number_is_no_parity(value: float, who: int, name: str) -> None:
    both = answers()
    both[who][1, 0, 4] = value
    message = rf"policy\.onnx: ry: expected a finite number from {name} at frame 1, step 0, got {value}"
    with pytest.raises(EngineError, match=message):
        measure(*both)


def test_chunks_of_another_length_are_refused() -> None:
    reference, outputs = answers()
    with pytest.raises(EngineError, match=r"onnx_cpu: expected \[3, 2, 7\], got \[3, 1, 7\]"):
        Parity.measure(reference, outputs[:, :1], to_actions(reference), to_actions(outputs[:, :1]), "onnx_cpu")


def test_beyond_the_tolerance_both_values_the_unit_the_frame_and_the_mend_are_named() -> None:
    parity = measure(*answers(x={(2, 0): 0.0042}, y={(2, 0): 0.0029}, ry={(0, 1): degrees(2.5)}))
    with pytest.raises(EngineError) as caught:
        check(parity, INT8, "policy.onnx")
    problems = str(caught.value).split("; ")
    assert problems[0] == "policy.onnx: x: expected torch's answer within 3 mm, got 4.2 mm at frame 2"
    assert problems[1] == "ry: expected torch's answer within 2 deg, got 2.5 deg at frame 0"
    assert "`keep:`" in problems[2]
    assert "`--sensitivity`" in str(caught.value)
    assert " y: " not in str(caught.value)


def test_too_many_flips_are_beyond_the_tolerance() -> None:
    reference, outputs = answers()
    outputs[0, 0, 6] = -1
    message = r"policy\.onnx: gripper: .* at most 2 % .* from torch's, got 16\.7 % \(1 of 6\)$"
    with pytest.raises(EngineError, match=message):
        check(measure(reference, outputs), INT8, "policy.onnx", mend="")
    check(measure(reference, outputs), dataclasses.replace(INT8, gripper_flips=0.2), "policy.onnx")


def test_within_the_tolerance_nothing_is_said() -> None:
    check(measure(*answers(x={(2, 0): 0.0029}, rx={(0, 0): degrees(1.9)})), INT8, "policy.onnx")
    check(measure(*answers()), TOLERANCES["fp32"], "policy.onnx")


def test_the_manifest_gives_back_what_was_measured() -> None:
    parity = measure(*answers(x={(2, 0): 0.001}))
    text = json.dumps(dataclasses.asdict(parity))
    assert build(json.loads(text), Parity, "manifest.json") == parity


def test_fewer_bits_are_allowed_more() -> None:
    for field in ("position_mm", "rotation_deg", "gripper_flips"):
        values = [getattr(TOLERANCES[precision], field) for precision in ("fp32", "bf16", "int8", "int4")]
        assert values == sorted(set(values))


@pytest.mark.parametrize(
    ("field", "value"),
    [("position_mm", 0.0), ("rotation_deg", float("nan")), ("gripper_flips", 1.5), ("gripper_flips", -0.1)],
)
def test_an_impossible_tolerance_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Tolerance(**{"position_mm": 1.0, "rotation_deg": 1.0, "gripper_flips": 0.0, field: value})


def test_the_table_has_a_line_a_dimension() -> None:
    lines = table(measure(*answers(z={(2, 0): 0.0042}))).splitlines()
    assert [line.split()[0] for line in lines] == ["error", *ACTION_NAMES[:6], "gripper:", "cosine:", "onnx_cpu"]
    assert lines[3].split() == ["z", "0.7", "3.99", "4.2", "mm", "2"]
    assert len({len(line) for line in lines[:7]}) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (4.2001, "4.2"), (1234.5, "1230"), (0.0573, "0.0573"), (1e-7, "<0.001"), (3, "3")]
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert shown(value) == text
