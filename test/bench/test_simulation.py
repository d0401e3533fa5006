from pathlib import Path

import pytest

from test.evaluation.episodes import episode, sim_config
from test.sim.fake_simulator import FakeSimulator
from vla_ros.action import Command
from vla_ros.bench.every_step_bridge import RendersEveryStep
from vla_ros.bench.simulation import Measured, document, measure, speed_up, text
from vla_ros.errors import ConfigError
from vla_ros.sim.episode import EpisodeResult
from vla_ros.sim.film import Image


class Counting(FakeSimulator):
    rendered = 0

    def render(self) -> Image:
        self.rendered += 1
        return super().render()


def test_the_bridge_that_is_measured_against_renders_every_step_and_changes_nothing_else() -> None:
    simulator = Counting()
    wrapped = RendersEveryStep(simulator)
    wrapped.reset(simulator.tasks()[0], 0, 0)
    for _ in range(5):
        wrapped.step(Command.stop())
    assert (simulator.rendered, len(simulator.commands)) == (5, 5)
    assert wrapped.max_steps == simulator.max_steps


def results(*walls: float) -> tuple[EpisodeResult, ...]:
    return tuple(
        episode(initial_state=state, wall_s=wall, steps=100, simulator_s=wall / 2, rendered=13)
        for state, wall in enumerate(walls)
    )


MEASURED = [
    Measured(name="as seen", rounds=(results(20, 3, 2), results(30, 2, 4))),
    Measured(name="every step", rounds=(results(40, 12, 12), results(45, 12, 12))),
]


def test_episodes_that_build_the_scene_are_told_apart_and_pairs_are_compared() -> None:
    quick, slow = MEASURED
    assert (quick.durations_s, quick.episode_s, quick.first_s) == ([3, 2, 2, 4], 2.5, 25)
    assert (slow.episode_s, slow.rendered, quick.rendered) == (12, 6 * 101, 6 * 13)
    assert speed_up(MEASURED) == pytest.approx(5.0)  # the median of 4, 6, 6 and 3
    assert "5.00 times the episodes per hour" in text(MEASURED)


def test_figures_have_units() -> None:
    figures = document(MEASURED, sim_config())
    assert figures["figures"]["speed_up"] == pytest.approx(5.0)
    assert set(figures["figures"]) == set(figures["units"])


def test_a_single_episode_tells_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="episodes_per_task: expected >= 2"):
        measure(sim_config(episodes_per_task=1), tmp_path, 1)
