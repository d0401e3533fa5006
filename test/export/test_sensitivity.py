"""The rehearsal that finds the layers which quantisation hurts."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

import onnx_ir as ir
import onnxruntime
import torch
from torch import Tensor, nn

from test.policies.cases import CASES
from vla_ros.errors import EngineError
from vla_ros.export import onnx, quantize, sensitivity
from vla_ros.export.calibration import Feed, Observer, observe
from vla_ros.export.exporter import _how_to_mend
from vla_ros.export.graph import PolicyGraph
from vla_ros.export.linear import LinearLayer, find_linear_layers
from vla_ros.export.lowering import Plan, Quantization, groups_by_input, lower
from vla_ros.export.quantize import QuantizedWeight
from vla_ros.export.sensitivity import RoundingError, Sensitivity, rehearse, round_input, sweep

NAMES = ("blocks.0.fine", "blocks.0.coarse", "head")


class Chain(nn.Module):
    """Three linear layers that hand on what they get, in place of a policy."""

    def forward(self, pixel_values: Tensor, text_embeds: Tensor, query_index: Tensor) -> Tensor:
        for _ in NAMES:
            text_embeds = nn.functional.linear(text_embeds, torch.eye(7))
        return text_embeds


def layers(names: tuple[str, ...] = NAMES) -> list[LinearLayer]:
    return [
        LinearLayer(name=name, node=ir.node("Linear", []), weight=lambda: torch.eye(7), shape=(7, 7)) for name in names
    ]


def int8(input_scale: float) -> Quantization:
    return Quantization(quantize.to_int8, ir.DataType.INT8, None, input_scale)


def feeds(*frames: list[float]) -> list[tuple[Tensor, Tensor, Tensor]]:
    return [(torch.zeros(1), torch.tensor([[frame]]), torch.zeros(1)) for frame in frames]


def to_actions(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """An output of 1 is 10 mm or 0.1 rad; the gripper opens above 0."""
    arm = outputs[..., :6] * np.array([0.01] * 3 + [0.1] * 3, np.float32)
    return np.concatenate([arm, (outputs[..., 6:] > 0).astype(np.float32)], axis=-1)


# rounding to tenths changes 0.34 by 0.04 and 0.12 by 0.02; to wholes both become 0, and so does the gripper's 0.4
FRAMES = feeds([0.34, 0, 0, 0, 0.12, 0, 0.4], [0.1, 0, 0, 0, 0, 0, -1.0])
PLAN = Plan({NAMES[0]: int8(0.1), NAMES[1]: int8(1.0)}, {})


def sweep_chain(plan: Plan = PLAN, **options: Any) -> Sensitivity:
    return sweep(Chain(), layers(), plan, FRAMES, to_actions, **options)  # type: ignore[arg-type]


def test_the_layer_whose_input_is_rounded_most_coarsely_is_the_worst() -> None:
    found = sweep_chain()
    assert [row.name for row in found.rows] == [NAMES[1], NAMES[0]]
    coarse, fine = found.rows
    assert (coarse.position_mm, coarse.rotation_deg) == pytest.approx((3.4, np.degrees(0.012)), rel=1e-4)
    assert (fine.position_mm, fine.rotation_deg) == pytest.approx((0.4, np.degrees(0.002)), rel=1e-4)
    assert (coarse.gripper_flips, fine.gripper_flips) == (1, 0)
    assert found.frames == 2


def test_all_layers_together_are_measured_too() -> None:
    assert sweep_chain().together.position_mm == pytest.approx(3.4, rel=1e-4)
    assert sweep_chain().together.name == "all layers"


def test_degrees_count_as_what_they_move_at_the_fingertip() -> None:
    row = RoundingError(name="x", position_mm=1.0, rotation_deg=float(np.degrees(0.02)), gripper_flips=0)
    assert row.fingertip_mm == pytest.approx(3.0)


def test_a_channel_with_outliers_hurts_less_once_it_is_smoothed() -> None:
    """An input of 100 beside one of 0.34 needs a scale of 100 / 127, of which 0.34 is less than half."""
    frames = feeds([0.34, 100.0, 0, 0, 0, 0, 0])

    def cost(plan: Plan) -> float:
        only_x: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda outputs: to_actions(  # noqa: E731
            outputs * np.array([1, 0, 0, 0, 0, 0, 0], np.float32)
        )
        return sweep(Chain(), layers(), plan, frames, only_x).rows[0].position_mm  # type: ignore[arg-type]

    factors = torch.tensor([0.1, 100.0, 1, 1, 1, 1, 1])
    assert cost(Plan({"head": int8(100 / 127)}, {})) == pytest.approx(3.4, rel=1e-4)
    assert cost(Plan({"head": int8(3.4 / 127)}, {"head": factors})) < 0.05


def test_weights_alone_can_be_rounded() -> None:
    def to_zero(weight: Tensor) -> QuantizedWeight:
        return QuantizedWeight(torch.zeros_like(weight, dtype=torch.int8), torch.ones(weight.shape[1]))

    found = sweep_chain(Plan({"head": Quantization(to_zero, ir.DataType.INT4, 1)}, {}))
    assert found.rows[0].position_mm == pytest.approx(3.4, rel=1e-4)


def test_blocks_are_rounded_together_under_the_pattern_that_keeps_them() -> None:
    plan = Plan({**PLAN.layers, "head": int8(0.01)}, {})
    found = sweep_chain(plan, by="block")
    assert [row.name for row in found.rows] == ["blocks.0.*", "head"]
    assert found.rows[0].position_mm == pytest.approx(3.4, rel=1e-4)


def test_layers_are_not_rounded_without_being_asked_to() -> None:
    outputs = rehearse(Chain(), layers(), PLAN, FRAMES, ())  # type: ignore[arg-type]
    np.testing.assert_array_equal(outputs, np.concatenate([feed[1].numpy() for feed in FRAMES]))


def test_an_answer_that_is_no_number_names_the_layer() -> None:
    def to_nan(weight: Tensor) -> QuantizedWeight:
        return QuantizedWeight(torch.zeros_like(weight, dtype=torch.int8), torch.full(weight.shape[1:], torch.nan))

    def visible(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(np.isfinite(outputs), to_actions(outputs), np.float32(np.nan))

    plan = Plan({NAMES[1]: Quantization(to_nan, ir.DataType.INT8)}, {})
    with pytest.raises(EngineError, match=r"sensitivity: blocks\.0\.coarse: expected finite actions"):
        sweep(Chain(), layers(), plan, FRAMES, visible)  # type: ignore[arg-type]


def test_another_number_of_layers_than_was_traced_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="3 linear layers ran, 4 were traced"):
        rehearse(Chain(), layers((*NAMES, "more")), PLAN, FRAMES, ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        (ir.DataType.INT8, [0.25, 0.75, 63.9, -80.0], [0.0, 1.0, 63.5, -64.0]),
        # E4M3 has three bits behind the point: 17 lies between 16 and 18, and 448 is the largest
        (ir.DataType.FLOAT8E4M3FN, [8.5, 0.53125, 1000.0, -1000.0], [8.0, 0.5, 224.0, -224.0]),
    ],
)
def test_inputs_are_rounded_to_even_and_saturate(
    dtype: ir.DataType, values: list[float], expected: list[float]
) -> None:
    rounded = round_input(torch.tensor(values), Quantization(quantize.to_int8, dtype, None, 0.5))
    assert rounded.tolist() == expected


def test_what_is_suggested_to_be_kept_leaves_the_rest_within_the_limit() -> None:
    def cost(name: str, millimetres: float) -> RoundingError:
        return RoundingError(name=name, position_mm=millimetres, rotation_deg=0.0, gripper_flips=0)

    # squares 16 + 9 + 4 + 1 = 30 stand for the 10 mm of all of them: without the first two, 10 * sqrt(5 / 30) = 4.08 mm
    rows = tuple(cost(name, value) for name, value in zip("abcd", (4.0, 3.0, 2.0, 1.0), strict=True))
    found = Sensitivity(frames=1, rows=rows, together=cost("all layers", 10.0))
    assert found.suggest_keep(10.0) == ()
    assert found.suggest_keep(4.1) == ("a", "b")
    assert found.suggest_keep(4.0) == ("a", "b", "c")
    assert Sensitivity(frames=1, rows=rows, together=cost("all layers", 0.0)).suggest_keep(1.0) == ()


def plan_all(found: list[LinearLayer], seen: Observer, precision: str) -> Plan:
    """Every layer but the head's, inputs smoothed where they are quantised too."""
    plan = Plan({}, {})
    number = {layer.name: index for index, layer in enumerate(found)}
    for group in groups_by_input(found):
        peak, power = seen.peaks[number[group[0].name]], seen.powers[number[group[0].name]]
        weights = torch.stack([layer.weight().abs().amax(1) for layer in group]).amax(0)
        factors = quantize.smoothing(peak, weights, 0.5)
        top = float((peak / factors).max()) or 1.0
        to_int4 = partial(quantize.to_int4, power=power, block_size=8)
        hows = {
            "int8": Quantization(quantize.to_int8, ir.DataType.INT8, None, top / quantize.INT8_MOST),
            "fp8": Quantization(quantize.to_fp8, ir.DataType.FLOAT8E4M3FN, None, top / quantize.FP8_MOST),
            "int4": Quantization(to_int4, ir.DataType.INT4, 8),
        }
        for layer in group:
            if precision != "int4":
                plan.smoothing[layer.name] = factors
            if not layer.name.startswith("head") and not (precision == "int4" and layer.shape[0] % 8):
                plan.layers[layer.name] = hows[precision]
    return plan


@pytest.fixture(scope="module")
def traced() -> tuple[PolicyGraph, Feed, ir.Model]:
    """A tiny policy, one frame, and its graph before it is lowered; tracing is what takes time."""
    case = next(case for case in CASES if case.family == "kosmos2")
    policy, inputs = case.policy(), case.inputs()
    graph = PolicyGraph(policy, inputs.input_ids[0, : case.image_start].tolist())
    text = torch.randn(1, 9, policy.backbone.hidden_size, generator=torch.Generator().manual_seed(1))
    return graph, (inputs.pixel_values[:1], text, torch.tensor([8])), onnx.trace(graph, 20, 21)


@pytest.mark.parametrize("precision", ["int8", "int4", "fp8"])
def test_the_rehearsal_answers_as_the_graph_that_is_written(
    traced: tuple[PolicyGraph, Feed, ir.Model], precision: str, tmp_path: Path
) -> None:
    graph, feed, model = traced[0], traced[1], traced[2].clone()
    found = find_linear_layers(model)
    plan = plan_all(found, observe(graph, [feed]), precision)
    rehearsed = rehearse(graph, found, plan, [feed], plan.layers)
    lower(model, found, plan)
    onnx.simplify(model)
    ir.save(model, tmp_path / "policy.onnx", external_data="policy.onnx.data")
    options = onnxruntime.SessionOptions()
    # as it is written: what a machine without VNNI fuses saturates, and is the engine's matter
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"), options, providers=["CPUExecutionProvider"])
    written = session.run(None, dict(zip(onnx.INPUTS, (part.numpy() for part in feed), strict=True)))[0]
    with torch.no_grad():
        unrounded = graph(*feed).numpy()
    np.testing.assert_allclose(rehearsed, written, atol=2e-6)
    assert np.abs(rehearsed - unrounded).max() > 1e-4


def test_the_lever_is_part_of_what_the_page_says() -> None:
    page = Path(sensitivity.__file__).with_name("templates") / "parity.html.j2"
    assert f"{sensitivity.LEVER_MM:g} mm from the wrist" in page.read_text(encoding="utf-8")


def test_a_refused_export_says_what_to_keep_for_the_error_that_was_measured() -> None:
    rows = tuple(
        RoundingError(name=name, position_mm=cost, rotation_deg=0.0, gripper_flips=0)
        for name, cost in (("a", 4.0), ("b", 2.0), ("c", 1.0), ("all", 4.5))
    )
    found = Sensitivity(frames=2, rows=rows[:3], together=rows[3])
    settings: Any = SimpleNamespace(precision="int8", keep=("head.*",), allowed=SimpleNamespace(position_mm=4.5))
    # the sweep's few frames are within the tolerance, the report's many are not
    measured: Any = SimpleNamespace(worst=lambda unit: 9.0)
    assert "`keep: [head.*, a]`" in _how_to_mend(measured, settings, found)
    assert "`--sensitivity` finds them" in _how_to_mend(measured, settings, None)
