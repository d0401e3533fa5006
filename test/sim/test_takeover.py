"""A policy drives before the expert takes over. No LIBERO needed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from test.node.stub_policy import StubPolicy
from test.sim.fake_simulator import FakeSimulator
from vla_ros.errors import ConfigError
from vla_ros.observation import Observation
from vla_ros.sim.takeover import PolicyDriver, Takeover

TAKEOVER = Takeover(bundle=Path("models/any"), share=0.5, max_steps=20, execution_horizon=3)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Observation]:
    """What the policy was shown."""
    observations = []
    policy = StubPolicy()

    class Watched:
        contract = policy.contract

        def predict(self, observation: Observation) -> object:
            observations.append(observation)
            return policy.predict(observation)

    monkeypatch.setattr("vla_ros.engines.policy_runner.PolicyRunner.open", lambda bundle, engine, threads: Watched())
    return observations


def test_it_executes_the_horizon_of_every_chunk_and_looks_again(seen: list[Observation]) -> None:
    simulator = FakeSimulator()
    task = simulator.tasks()[0]
    simulator.reset(task, 0, seed=0)
    PolicyDriver(TAKEOVER).drive(simulator, task, steps=7)
    assert (len(simulator.commands), len(seen)) == (7, 3)
    assert {observation.instruction for observation in seen} == {task.instruction}
    expected = [StubPolicy().predict(observation).actions[:3] for observation in seen]
    np.testing.assert_allclose([command.delta for command in simulator.commands], np.concatenate(expected)[:7, :6])
    assert {command.gripper for command in simulator.commands} <= {0.0, 1.0}


def test_it_stops_at_success(seen: list[Observation]) -> None:
    simulator = FakeSimulator()
    simulator.goal_m = 0.0
    PolicyDriver(TAKEOVER).drive(simulator, simulator.tasks()[0], steps=7)
    assert simulator.commands == []


def test_a_horizon_beyond_the_chunk_is_refused(seen: list[Observation]) -> None:
    with pytest.raises(ConfigError, match=r"takeover.execution_horizon: expected at most 8, the chunk of models/any"):
        PolicyDriver(dataclasses.replace(TAKEOVER, execution_horizon=9))


def test_its_share_of_the_attempts_begins_with_the_policy() -> None:
    random = np.random.default_rng(0)
    steps = np.array([TAKEOVER.draw_steps(random) for _ in range(2000)])
    assert 0.45 < (steps > 0).mean() < 0.55
    assert (steps[steps > 0].min(), steps.max()) == (1, 20)


@pytest.mark.parametrize("field", [{"share": 0.0}, {"share": 1.5}, {"max_steps": 0}, {"execution_horizon": 0}])
def test_what_makes_no_sense_is_refused(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(field))}: expected"):
        Takeover(bundle=Path("models/any"), **field)  # type: ignore[arg-type]
