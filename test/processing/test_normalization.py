"""Model units and SI units, there and back."""

import json

import numpy as np
import pytest

from vla_ros.errors import BundleError
from vla_ros.processing.normalization import ActionNormalizer, Statistics


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
        ("q99", [-1.0] * 7, "statistics.json: q99: x: expected more than q01"),
    ],
)
def test_impossible_statistics_are_refused(actions: np.ndarray, key: str, value: object, complaint: str) -> None:
    fields = json.loads(Statistics.of(actions).to_json()) | {key: value}
    with pytest.raises(BundleError, match=complaint):
        Statistics.from_json(json.dumps(fields), "statistics.json")
