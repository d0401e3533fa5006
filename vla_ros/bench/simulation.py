"""Episodes per hour of an evaluation, beside a bridge that renders every step: the same episodes, in turns."""

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.bench import report
from vla_ros.errors import ConfigError, SimulatorError
from vla_ros.evaluation.plan import BRIDGE, PROGRAMS
from vla_ros.evaluation.runner import evaluate, local
from vla_ros.sim.episode import EpisodeResult, SimConfig

BRIDGES = {"as seen": PROGRAMS[BRIDGE], "every step": "vla_ros.bench.every_step_bridge"}
"""Images only of what the policy sees, or of every step."""
HEADINGS = ("images", "episodes", "successes", "s/episode", "episodes/h", "first [s]", "steps/s", "rendered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One of the two bridges.

    Attributes:
        name: which.
        rounds: its episodes in each; their durations have the reset in them, but not the start of the processes.
    """

    name: str
    rounds: tuple[tuple[EpisodeResult, ...], ...]

    @property
    def results(self) -> tuple[EpisodeResult, ...]:
        """Of all rounds."""
        return tuple(result for results in self.rounds for result in results)

    @property
    def durations_s(self) -> list[float]:
        """Of all episodes but the first ones of each task in each round, most of which also build the scene [s]."""
        return [result.wall_s for results in self.rounds for result in _later(results)]

    @property
    def episode_s(self) -> float:
        """Median of them [s]."""
        return float(np.median(self.durations_s))

    @property
    def first_s(self) -> float:
        """Median of those that build the scene, too [s]."""
        return float(np.median([results[0].wall_s for results in self.rounds]))

    @property
    def steps_per_s(self) -> float:
        """Of the simulator alone, images included and resets not."""
        return sum(result.steps for result in self.results) / sum(result.simulator_s for result in self.results)

    @property
    def rendered(self) -> int:
        """Images, those of every step included."""
        if self.name == "every step":
            return sum(result.steps + 1 for result in self.results)
        return sum(result.rendered for result in self.results)


def _later(results: tuple[EpisodeResult, ...]) -> list[EpisodeResult]:
    return [result for before, result in itertools.pairwise(results) if result.task_index == before.task_index]


def measure(config: SimConfig, output: Path, rounds: int) -> list[Measured]:
    """Run the configuration's episodes `rounds` times with either bridge, in turns, without extra video frames.

    Raises:
        ConfigError: there is only one episode of each task.
        SimulatorError: a run broke off.
    """
    if config.episodes_per_task < 2:
        raise ConfigError("episodes_per_task: expected >= 2, for the first one builds the scene, got 1")
    config = dataclasses.replace(config, video_every_n_steps=0)
    found: dict[str, list[tuple[EpisodeResult, ...]]] = {name: [] for name in BRIDGES}
    for number in range(rounds):
        names = list(BRIDGES) if number % 2 == 0 else list(BRIDGES)[::-1]
        for name in names:
            folder = output / f"{number}-{name.replace(' ', '-')}"
            evaluation = evaluate(config, folder, run=local(1, BRIDGES[name]))
            if evaluation.failure:
                raise SimulatorError(f"{folder}: {evaluation.failure}")
            found[name].append(evaluation.results)
    return [Measured(name=name, rounds=tuple(rounds)) for name, rounds in found.items()]


def speed_up(measured: list[Measured]) -> float:
    """How many times as many episodes per hour: median over the pairs of equal episodes of a round."""
    as_seen, every_step = measured
    ratios = [slow / quick for quick, slow in zip(as_seen.durations_s, every_step.durations_s, strict=True)]
    return float(np.median(ratios))


def text(measured: list[Measured]) -> str:
    """Both, and the ratio."""
    rows = [
        (
            each.name,
            str(len(each.results)),
            str(sum(result.is_success for result in each.results)),
            f"{each.episode_s:.1f}",
            f"{3600 / each.episode_s:.0f}",
            f"{each.first_s:.1f}",
            f"{each.steps_per_s:.1f}",
            str(each.rendered),
        )
        for each in measured
    ]
    note = "medians without the first episode of each task, which may also build the scene"
    return f"{report.table(HEADINGS, rows)}\n\n{speed_up(measured):.2f} times the episodes per hour ({note})"


def document(measured: list[Measured], config: SimConfig) -> dict[str, Any]:
    """See `report.document`."""
    figures: dict[str, Any] = {"speed_up": speed_up(measured)}
    units = {"speed_up": "1"}
    for each in measured:
        name = each.name.replace(" ", "_")
        figures |= {
            f"{name}_episode_s": each.episode_s,
            f"{name}_first_episode_s": each.first_s,
            f"{name}_steps_per_s": each.steps_per_s,
            f"{name}_rendered": each.rendered,
        }
        units |= {f"{name}_episode_s": "s", f"{name}_first_episode_s": "s"}
        units |= {f"{name}_steps_per_s": "1/s", f"{name}_rendered": "1"}
    return report.document(figures, units, [config.seed], ("numpy",)) | {
        "simulator": config.simulator,
        "suite": config.suite,
        "episodes": len(measured[0].results),
    }
