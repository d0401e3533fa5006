"""Which layers quantisation hurts: each is rounded alone, in torch, and the action's error is measured.

The rounding is that of the graph that is written (`quantize.py`, `lowering.py`), so that a layer's figure here is what
it costs there, and finding it takes no export.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

from vla_ros.action import ARM_DIM
from vla_ros.errors import EngineError
from vla_ros.export.calibration import Feed
from vla_ros.export.graph import PolicyGraph
from vla_ros.export.linear import LinearLayer
from vla_ros.export.lowering import Plan, Quantization
from vla_ros.export.parity import arm_errors
from vla_ros.export.quantize import FP8_MOST

LEVER_MM = 100.0
"""From the wrist to the fingertips: what turns an error in degrees into one in mm."""

Unnormalize = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Model outputs [..., 7] to actions in SI units, e.g. `ActionNormalizer.unnormalize`."""

_BLOCK = re.compile(r".*?\.\d+(?=\.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundingError:
    """What rounding costs, the largest over frames and steps.

    Attributes:
        name: of what is rounded: a layer, or the pattern of a block's layers.
        position_mm: of x, y and z [mm].
        rotation_deg: of rx, ry and rz [deg].
        gripper_flips: how many gripper values differ.
    """

    name: str
    position_mm: float
    rotation_deg: float
    gripper_flips: int

    @property
    def fingertip_mm(self) -> float:
        """Both errors as one: how far a fingertip is off, LEVER_MM from the wrist [mm]."""
        return self.position_mm + math.radians(self.rotation_deg) * LEVER_MM


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The outcome of a sweep.

    Attributes:
        frames: that every figure was measured on.
        rows: what was rounded alone, the worst first; each name can stand under `keep:` as it is.
        together: everything rounded at once.
    """

    frames: int
    rows: tuple[RoundingError, ...]
    together: RoundingError

    def suggest_keep(self, limit_mm: float) -> tuple[str, ...]:
        """What to keep, the worst first, for the fingertip to stay within a limit [mm].

        An estimate, which the export's own comparison has to confirm: errors of different layers are taken to be
        independent, so that their squares add up, to the square of what was measured with all of them.
        """
        squares = [row.fingertip_mm**2 for row in self.rows]
        wanted = sum(squares) * (limit_mm / self.together.fingertip_mm) ** 2 if self.together.fingertip_mm else math.inf
        left, keep = sum(squares), []
        for row, square in zip(self.rows, squares, strict=True):
            if left <= wanted:
                break
            keep.append(row.name)
            left -= square
        return tuple(keep)


def sweep(
    graph: PolicyGraph,
    layers: list[LinearLayer],
    plan: Plan,
    feeds: Sequence[Feed],
    unnormalize: Unnormalize,
    by: Literal["layer", "block"] = "layer",
) -> Sensitivity:
    """Round every quantised layer of the plan alone, then all of them.

    Args:
        layers: all linear layers, in the order in which they run.
        feeds: a few frames; the graph runs on each once a layer.
        by: `block` rounds the layers of a decoder or vision block together, which takes a seventh of the time or less.

    Raises:
        EngineError: an answer is not finite; names what was rounded.
    """

    def answer(name: str, rounded: Collection[str]) -> NDArray[np.float32]:
        actions = unnormalize(rehearse(graph, layers, plan, feeds, rounded))
        if not np.isfinite(actions).all():
            raise EngineError(f"sensitivity: {name}: expected finite actions, got NaN or infinity")
        return actions

    def measure(name: str, rounded: Collection[str]) -> RoundingError:
        return _compare(name, reference, answer(name, rounded))

    reference = answer("nothing rounded", ())
    groups = _groups(layers, plan, by)
    rows = [measure(name, names) for name, names in tqdm(groups.items(), desc="sensitivity", unit=by)]
    return Sensitivity(
        frames=len(feeds),
        rows=tuple(sorted(rows, key=lambda row: -row.fingertip_mm)),
        together=measure("all layers", plan.layers.keys()),
    )


@torch.no_grad()
def rehearse(
    graph: PolicyGraph, layers: list[LinearLayer], plan: Plan, feeds: Sequence[Feed], rounded: Collection[str]
) -> NDArray[np.float32]:
    """Model outputs [frames, chunk_size, 7] with these layers, by name, rounded as the plan says."""
    rounding = _Rounding(layers, plan, rounded)
    outputs = []
    for feed in feeds:
        with rounding:
            outputs.append(graph(*feed).float().cpu().numpy())
        rounding.begin()
    return np.concatenate(outputs)


class _Rounding(TorchFunctionMode):
    """Rounds some linear layers, which are told apart by the order in which they run."""

    def __init__(self, layers: list[LinearLayer], plan: Plan, rounded: Collection[str]) -> None:
        super().__init__()
        self._layers, self._plan, self._rounded = layers, plan, rounded
        # the weights of a few layers fit beside the policy and the next frame needs them again; those of all may not
        self._weights: dict[int, Tensor] | None = {} if len(rounded) < len(plan.layers) else None
        self._next = 0

    def begin(self) -> None:
        """The next layer to run is the first one again."""
        assert self._next == len(self._layers), f"{self._next} linear layers ran, {len(self._layers)} were traced"
        self._next = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.linear:
            place, self._next = self._next, self._next + 1
            name = self._layers[place].name
            if name in self._rounded:
                hidden, weight, *bias = args
                args = (self._input(name, hidden), self._weight(place, weight), *bias)
        return func(*args, **(kwargs or {}))

    def _input(self, name: str, hidden: Tensor) -> Tensor:
        how, factors = self._plan.layers[name], self._plan.smoothing.get(name)
        smoothed = hidden.float() if factors is None else hidden.float() / factors.to(hidden.device)
        return round_input(smoothed, how).to(hidden.dtype)

    def _weight(self, place: int, weight: Tensor) -> Tensor:
        """What multiplies a rounded input, [outputs, inputs] as torch's linear takes it."""
        if self._weights is not None and place in self._weights:
            return self._weights[place]
        name = self._layers[place].name
        how, factors = self._plan.layers[name], self._plan.smoothing.get(name)
        smoothed = weight.T if factors is None else weight.T * factors.to(weight)[:, None]
        rounded = how.weight(smoothed).dequantize().T.to(weight.dtype)
        if self._weights is not None:
            self._weights[place] = rounded
        return rounded


def round_input(hidden: Tensor, how: Quantization) -> Tensor:
    """QuantizeLinear and DequantizeLinear of a layer's input, float32; both saturate at the ends of the type."""
    if how.input_scale is None:
        return hidden
    scaled = hidden / how.input_scale
    if how.dtype == ir.DataType.FLOAT8E4M3FN:
        return scaled.clamp(-FP8_MOST, FP8_MOST).to(torch.float8_e4m3fn).float() * how.input_scale
    assert how.dtype == ir.DataType.INT8, how.dtype
    return scaled.round().clamp(-128, 127) * how.input_scale


def _groups(layers: list[LinearLayer], plan: Plan, by: Literal["layer", "block"]) -> dict[str, set[str]]:
    """What is rounded at once, in the order in which it runs; layers outside of any block stay alone."""
    groups: dict[str, set[str]] = defaultdict(set)
    for layer in layers:
        if layer.name in plan.layers:
            block = _BLOCK.match(layer.name) if by == "block" else None
            groups[f"{block[0]}.*" if block else layer.name].add(layer.name)
    return groups


def _compare(name: str, reference: NDArray[np.float32], actions: NDArray[np.float32]) -> RoundingError:
    errors = arm_errors(reference, actions)
    return RoundingError(
        name=name,
        position_mm=float(errors[..., :3].max()),
        rotation_deg=float(errors[..., 3:].max()),
        gripper_flips=int((reference[..., ARM_DIM] != actions[..., ARM_DIM]).sum()),
    )
