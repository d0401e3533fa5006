"""Model units and SI units, there and back."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from vla_ros.errors import BundleError, ContractError
from vla_ros.processing.normalization import ActionNormalizer, Statistics
from vla_ros.recipe import RecipeName

BUNDLE = Path(__file__).resolve().parents[2] / "models/libero-object-ten"


@pytest.fixture
def actions() -> np.ndarray:
    random = np.random.default_rng(0)
    actions = random.normal(scale=0.02, size=(1000, 7)).astype(np.float32)
    actions[:, 6] = random.random(1000) > 0.5
    return actions


def test_quantiles_are_the_ends_of_the_models_range(actions: np.ndarray) -> None:
    statistics = Statistics.of(actions)
    normalizer = ActionNormalizer(statistics)
    ends = np.array([[*statistics.q01[:6], 0.0], [*statistics.q99[:6], 1.0]], np.float32)
    np.testing.assert_allclose(normalizer.normalize(ends), [[-1] * 6 + [0], [1] * 6 + [1]], atol=1e-6)


def test_there_and_back_is_the_identity_within_the_quantiles(actions: np.ndarray) -> None:
    statistics = Statistics.of(actions)
    normalizer = ActionNormalizer(statistics)
    inside = np.clip(actions, statistics.q01, statistics.q99).astype(np.float32)
    outputs = normalizer.normalize(inside)
    outputs[:, 6] = outputs[:, 6] * 2 - 1  # class to logit
    np.testing.assert_allclose(normalizer.unnormalize(outputs)[:, :6], inside[:, :6], atol=1e-7)
    np.testing.assert_array_equal(normalizer.unnormalize(outputs)[:, 6], actions[:, 6] > 0.5)


def test_nothing_leaves_the_training_range(actions: np.ndarray) -> None:
    statistics = Statistics.of(actions)
    commanded = ActionNormalizer(statistics).unnormalize(np.full((1, 7), 1e30, np.float32))
    np.testing.assert_allclose(commanded[0, :6], statistics.q99[:6], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 5, 6])
def test_a_non_finite_output_stays_visible(actions: np.ndarray, bad: float, column: int) -> None:
    outputs = np.zeros((2, 7), np.float32)
    outputs[1, column] = bad
    commanded = ActionNormalizer(Statistics.of(actions)).unnormalize(outputs)
    assert np.isnan(commanded[1, column])
    assert np.isfinite(commanded).sum() == 13


def test_statistics_survive_their_file(actions: np.ndarray) -> None:
    statistics = Statistics.of(actions)
    assert Statistics.from_json(statistics.to_json(), "statistics.json") == statistics


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("names", ["y", "x", "z", "rx", "ry", "rz", "gripper"], "statistics.json: names: expected"),
        ("units", ["mm"] * 7, "statistics.json: units: expected"),
        ("q01", [0.0] * 6, "statistics.json: q01: expected 7 finite numbers"),
        ("q99", [-1.0] * 7, "statistics.json: q99: x: expected at least q01"),
    ],
)
def test_impossible_statistics_are_refused(actions: np.ndarray, key: str, value: object, complaint: str) -> None:
    fields = json.loads(Statistics.of(actions).to_json()) | {key: value}
    with pytest.raises(BundleError, match=complaint):
        Statistics.from_json(json.dumps(fields), "statistics.json")


def test_the_shipped_statistics_are_the_ends_of_the_shipped_policys_range() -> None:
    text = (BUNDLE / "statistics.json").read_text()
    statistics = Statistics.from_json(text, "statistics.json")
    assert statistics.to_json() == text
    ends = np.array([[-1.0] * 7, [1.0] * 7], np.float32)
    expected = np.array([[*statistics.q01[:6], 0.0], [*statistics.q99[:6], 1.0]], np.float32)
    np.testing.assert_allclose(ActionNormalizer(statistics).unnormalize(ends), expected, atol=1e-9)


BOUNDS = (0.013, 0.013, 0.013, 0.0325, 0.0325, 0.0325)
"""CALVIN: 0.65 of 0.02 m and 0.05 rad."""


@pytest.mark.parametrize("recipe", ["paper", "upstream"])
def test_bounds_are_the_ends_of_the_models_range_in_both_recipes(actions: np.ndarray, recipe: RecipeName) -> None:
    normalizer = ActionNormalizer(Statistics.of(actions), BOUNDS, recipe)
    rows = np.array([[0.013, -0.0065, 0.02, 0.0325, -0.05, 0.0, 1.0]], np.float32)
    targets = normalizer.normalize(rows)
    np.testing.assert_allclose(targets, [[1.0, -0.5, 1.0, 1.0, -1.0, 0.0, 1.0]], atol=1e-6)
    back = [[0.013, -0.0065, 0.013, 0.0325, -0.0325, 0.0, 1.0]]
    np.testing.assert_allclose(normalizer.unnormalize(targets), back, atol=1e-8)


def test_upstream_reaches_only_the_central_65_percent_of_the_range(actions: np.ndarray) -> None:
    statistics = Statistics.of(actions)
    low, high = np.array(statistics.q01[:6]), np.array(statistics.q99[:6])
    once = np.clip(2 * (actions[:, :6] - low) / (high - low) - 1, -1, 1)  # the authors' two steps, one after the other
    twice = np.clip(once, -0.65, 0.65) / 0.65
    normalizer = ActionNormalizer(statistics, recipe="upstream")
    targets = normalizer.normalize(actions)
    np.testing.assert_allclose(targets[:, :6], twice, atol=1e-5)
    outputs = targets.copy()
    outputs[:, 6] = outputs[:, 6] * 2 - 1
    reachable = (np.clip(once, -0.65, 0.65) + 1) / 2 * (high - low) + low
    np.testing.assert_allclose(normalizer.unnormalize(outputs)[:, :6], reachable, atol=1e-7)


def test_a_dimension_that_never_moves_has_statistics_but_needs_bounds(actions: np.ndarray) -> None:
    actions[:, 4] = 0.1
    statistics = Statistics.of(actions)
    with pytest.raises(ContractError, match=r"statistics: q99: ry: expected more than q01 = 0\.1.*give arm_bounds"):
        ActionNormalizer(statistics)
    assert ActionNormalizer(statistics, (0.2,) * 6).normalize(actions)[0, 4] == pytest.approx(0.5)


def test_ends_that_single_precision_cannot_tell_apart_are_refused(actions: np.ndarray) -> None:
    statistics = Statistics.of(actions)
    narrow = dataclasses.replace(statistics, q01=(0.1, *statistics.q01[1:]), q99=(0.1 + 1e-12, *statistics.q99[1:]))
    with pytest.raises(ContractError, match="do not vary in x"):
        ActionNormalizer(narrow)
