"""Model units, [-1, 1], to SI units and back, by the quantiles of the training data or by fixed bounds."""

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ACTION_NAMES, ARM_DIM, GRIPPER_CLOSED, GRIPPER_OPEN
from vla_ros.config import build
from vla_ros.contract import ArmBounds
from vla_ros.errors import BundleError, ConfigError, ContractError
from vla_ros.recipe import RECIPES, RecipeName

UNITS = ("m", "m", "m", "rad", "rad", "rad", "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Per action dimension, of the training actions in SI units: the `statistics.json` of a bundle.

    Attributes:
        names, units: of the seven dimensions; stored so that permuted statistics are refused.
        q01, q99: 1 % and 99 % quantiles, the ends of the model's [-1, 1] where no bounds are given; equal where the
            data never move in a dimension.
        mean, std, min, max: for reports.
        count: how many actions were counted.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    q01: tuple[float, ...]
    q99: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    count: int

    def __post_init__(self) -> None:
        if self.names != ACTION_NAMES:
            raise ValueError(f"names: expected {ACTION_NAMES}, got {self.names}")
        if self.units != UNITS:
            raise ValueError(f"units: expected {UNITS}, got {self.units}")
        for field in ("q01", "q99", "mean", "std", "min", "max"):
            values = getattr(self, field)
            if len(values) != len(ACTION_NAMES) or not np.isfinite(values).all():
                raise ValueError(f"{field}: expected {len(ACTION_NAMES)} finite numbers, got {values}")
        for name, low, high in zip(ACTION_NAMES, self.q01, self.q99, strict=True):
            if not low <= high:
                raise ValueError(f"q99: {name}: expected at least q01 = {low}, got {high}")

    @classmethod
    def of(cls, actions: NDArray[np.float32]) -> "Statistics":
        """Of actions [n, 7] in SI units."""
        rows = actions.astype(np.float64)

        def numbers(values: NDArray[np.float64]) -> tuple[float, ...]:
            return tuple(float(value) for value in values)

        return cls(
            names=ACTION_NAMES,
            units=UNITS,
            q01=numbers(np.quantile(rows, 0.01, axis=0)),
            q99=numbers(np.quantile(rows, 0.99, axis=0)),
            mean=numbers(rows.mean(axis=0)),
            std=numbers(rows.std(axis=0)),
            min=numbers(rows.min(axis=0)),
            max=numbers(rows.max(axis=0)),
            count=len(rows),
        )

    def to_json(self) -> str:
        """The text of `statistics.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str) -> "Statistics":
        """Raises BundleError naming the field if a value is missing, unknown or impossible."""
        try:
            return build(json.loads(text), cls, source)
        except json.JSONDecodeError as error:
            raise BundleError(f"{source}: expected JSON, got: {error}") from error
        except ConfigError as error:
            raise BundleError(str(error)) from error


class ActionNormalizer:
    """The two directions of one map; what lies outside the ends of the model's range is clipped to them.

    Args:
        statistics: of the training actions; their 1 % and 99 % quantiles are the ends.
        arm_bounds: the ends are +- these instead (CALVIN) [m, rad].
        recipe: `upstream` normalises a second time, by `renormalized_clip`, which brings the ends nearer to their
            middle; bounds already are that second normalisation and stay as they are.

    Raises:
        ContractError: the data never move in a dimension of the arm, and no bounds are given.
    """

    def __init__(
        self, statistics: Statistics, arm_bounds: ArmBounds | None = None, recipe: RecipeName = "paper"
    ) -> None:
        if arm_bounds is not None:
            self._high = np.asarray(arm_bounds, np.float32)
            self._low = -self._high
            return
        self._low = np.asarray(statistics.q01[:ARM_DIM], np.float32)
        self._high = np.asarray(statistics.q99[:ARM_DIM], np.float32)
        for name, low, high in zip(ACTION_NAMES, self._low, self._high, strict=False):
            if not low < high:
                raise ContractError(
                    f"statistics: q99: {name}: expected more than q01 = {low}, got {high}: the actions of the data do "
                    f"not vary in {name}; give arm_bounds, the largest deltas in m and rad"
                )
        share = RECIPES[recipe].renormalized_clip
        if share is not None:
            middle, half = (self._high + self._low) / 2, (self._high - self._low) / 2 * np.float32(share)
            self._low, self._high = middle - half, middle + half

    def normalize(self, actions: NDArray[np.float32]) -> NDArray[np.float32]:
        """SI actions [..., 7] to training targets [..., 7]: arm in [-1, 1], gripper 1 open or 0 closed."""
        targets = np.empty_like(actions, dtype=np.float32)
        arm = (actions[..., :ARM_DIM] - self._low) / (self._high - self._low) * 2 - 1
        targets[..., :ARM_DIM] = np.clip(arm, -1.0, 1.0)
        targets[..., ARM_DIM] = actions[..., ARM_DIM] > 0.5
        return targets

    def unnormalize(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Model outputs [..., 7] (arm in [-1, 1], gripper logit) to SI actions; the gripper opens at a logit > 0."""
        actions = np.empty_like(outputs, dtype=np.float32)
        arm = np.clip(outputs[..., :ARM_DIM], -1.0, 1.0)
        actions[..., :ARM_DIM] = (arm + 1) / 2 * (self._high - self._low) + self._low
        actions[..., ARM_DIM] = np.where(outputs[..., ARM_DIM] > 0, GRIPPER_OPEN, GRIPPER_CLOSED)
        # np.clip and comparisons turn NaN into a plausible gripper: keep it visible for the finite check
        actions[~np.isfinite(outputs)] = np.nan
        return actions
