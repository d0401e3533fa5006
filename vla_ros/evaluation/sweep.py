"""Several variants of one evaluation: side by side, or as candidates of which the best one is tested."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vla_ros.control.chunk_scheduler import LateSteps
from vla_ros.control.gate_config import ExecutionHorizon
from vla_ros.errors import ConfigError
from vla_ros.evaluation.plan import Variant, prepare
from vla_ros.evaluation.record import Candidate, Evaluation, to_json
from vla_ros.evaluation.resume import SELECTION
from vla_ros.evaluation.runner import Runner, evaluate
from vla_ros.sim.episode import SimConfig
from vla_ros.sim.latency import read_latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What to vary; of each, nothing means as the files say.

    Attributes:
        bundles: policies.
        execution_horizons, late_steps, latencies: see `Variant`.
    """

    bundles: tuple[Path, ...] = ()
    execution_horizons: tuple[ExecutionHorizon, ...] = ()
    late_steps: tuple[LateSteps, ...] = ()
    latencies: tuple[str, ...] = ()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Every combination.

        Raises:
            ConfigError: two of them have the same name.
        """
        axes: tuple[Sequence[Any], ...] = (
            self.bundles or (None,),
            self.execution_horizons or (None,),
            self.late_steps or (None,),
            self.latencies or ("",),
        )
        variants = tuple(
            Variant(bundle=bundle, execution_horizon=horizon, late_steps=late, latency=latency)
            for bundle, horizon, late, latency in itertools.product(*axes)
        )
        names = [variant.name for variant in variants]
        twice = next((name for name in names if names.count(name) > 1), "")
        if twice:
            raise ConfigError(f"command line: expected variants with names of their own, got {twice} twice")
        return variants


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What came of all variants.

    Attributes:
        output: folder with a folder for each.
        variants, evaluations: in the same order; those after one that broke off are missing.
    """

    output: Path
    variants: tuple[Variant, ...]
    evaluations: tuple[Evaluation, ...]

    @property
    def failure(self) -> str:
        """Why it was broken off; empty when every variant was run."""
        return next((evaluation.failure for evaluation in self.evaluations if evaluation.failure), "")


def sweep(config: SimConfig, output: Path, variants: Sequence[Variant], run: Runner | None = None) -> Sweep:
    """Evaluate all variants on the same episodes, each in its own folder below `output`.

    Raises:
        VlaRosError: as `evaluate`, of any variant, before the first one is started.
    """
    for variant in variants:
        prepare(config, output / variant.name, variant)
    evaluations: list[Evaluation] = []
    for variant in variants:
        evaluations.append(evaluate(config, output / variant.name, variant, run))
        if evaluations[-1].failure:
            break
    return Sweep(output=output, variants=tuple(variants), evaluations=tuple(evaluations))


def select(
    config: SimConfig, output: Path, variants: Sequence[Variant], run: Runner | None = None
) -> Evaluation | Sweep:
    """Choose the best variant on the selection's initial states, then test that one alone on the test's.

    Of equal ones the first is taken. The candidates' folders are in `output`/selection.

    Returns:
        The test; or, where a candidate broke off, so that there is no choice, all that came of the candidates.

    Raises:
        VlaRosError: as `sweep`.
        ConfigError: the configuration has no states for a selection, or some of the test's.
    """
    if not config.selection_episodes_per_task:
        raise ConfigError(
            "selection_episodes_per_task: expected some for --select, got 0; the test's own states cannot do both"
        )
    test, selection = config.initial_states, config.selection_states
    if set(test) & set(selection):
        raise ConfigError(
            f"selection_episodes_per_task: expected none of the test's initial states, {test[0]} to {test[-1]}, got "
            f"{selection[0]} to {selection[-1]}"
        )
    tried = sweep(selection_config(config), output / SELECTION, variants, run)
    if tried.failure:
        return tried
    best = max(range(len(variants)), key=lambda index: tried.evaluations[index].score)
    candidates = tuple(
        _candidate(variant, evaluation, index == best)
        for index, (variant, evaluation) in enumerate(zip(variants, tried.evaluations, strict=True))
    )
    return evaluate(config, output, variants[best], run, candidates)


def selection_config(config: SimConfig) -> SimConfig:
    """The same on the selection's initial states."""
    return replace(
        config,
        first_initial_state=config.first_selection_state,
        episodes_per_task=config.selection_episodes_per_task,
        selection_episodes_per_task=0,
    )


def _candidate(variant: Variant, evaluation: Evaluation, is_chosen: bool) -> Candidate:
    total = evaluation.total
    assert total is not None
    return Candidate(
        name=variant.name,
        n=total.n,
        successes=total.successes,
        score=evaluation.score,
        ci95=total.ci95,
        is_chosen=is_chosen,
    )


def sweep_json(swept: Sweep) -> dict[str, Any]:
    """One object: what was varied, and the figures of each variant as `vla-ros eval --json` gives them."""
    return {
        "is_complete": not swept.failure,
        "failure": swept.failure,
        "variants": [
            {
                "name": variant.name,
                "execution_horizon": evaluation.execution_horizon,
                "late_steps": variant.late_steps,
                "latency_p50_ms": latency_ms(evaluation),
                **to_json(evaluation),
            }
            for variant, evaluation in zip(swept.variants, swept.evaluations, strict=False)
        ],
    }


def latency_ms(evaluation: Evaluation) -> float | None:
    """The median latency in the loop, or None: another mode."""
    return read_latency(evaluation.config.latency).p50_ms if evaluation.config.latency else None
