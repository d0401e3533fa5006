"""Variants side by side, and a selection apart from the test: real processes over ROS, a simulator without physics."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from test.evaluation.bundles import POLICY, ROBOT, write_bundle
from test.evaluation.episodes import episode, evaluation
from test.evaluation.test_resume import Eval, fake_config
from vla_ros import config as yaml_config
from vla_ros.errors import ConfigError
from vla_ros.evaluation.plan import AS_CONFIGURED, Variant, config_text
from vla_ros.evaluation.record import Evaluation
from vla_ros.evaluation.sweep import Choices, Sweep, select, selection_config, sweep_json
from vla_ros.evaluation.sweep_report import success_over_latency, svg, text, write
from vla_ros.sim.episode import EpisodeResult, SimConfig, read_results


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text(f"{POLICY}    engine: ok\n")
    Path("robot.yaml").write_text(ROBOT)
    write_bundle(Path("models/tiny"), camera_px=32)
    selection = {"first_selection_state": 30, "selection_episodes_per_task": 2}
    Path("sim.yaml").write_text(config_text(fake_config(tasks=(0,), episodes_per_task=2, **selection)))
    return tmp_path


def states(folder: Path) -> list[int]:
    return sorted(result.initial_state for result in read_results(folder / "episodes.jsonl"))


def test_candidates_run_on_states_of_their_own_and_only_the_best_is_tested(project: Path) -> None:
    arguments = ["--execution-horizon", "one,half", "--select", "--output", "out", "--json", "out.json"]
    code, errors = Eval("eval", "sim.yaml", *arguments).wait()
    assert code == 0, errors
    assert states(Path("out/selection/horizon-one")) == states(Path("out/selection/horizon-half")) == [30, 31]
    assert states(Path("out")) == [0, 1]
    figures = json.loads(Path("out.json").read_text())
    # both succeed always, so the first one is taken
    assert [(c["name"], c["is_chosen"]) for c in figures["selection"]] == [
        ("horizon-one", True),
        ("horizon-half", False),
    ]
    assert (figures["execution_horizon"], figures["tasks"][0]["n"]) == (1, 2)


def test_a_candidate_that_breaks_off_leaves_no_choice_and_no_test(project: Path) -> None:
    # the bundle says that chunks have 10 rows, and the stub's have 8: executing all 10 is a hold
    arguments = ["--execution-horizon", "one,full", "--select", "--output", "out"]
    code, errors = Eval("eval", "sim.yaml", *arguments).wait()
    assert code == 1
    assert "broken off in 2 of 2 variants: task 0, initial state 30: held: HOLD: no chunk" in errors
    assert not Path("out/episodes.jsonl").exists()


def test_latencies_are_swept_and_drawn(project: Path) -> None:
    arguments = ["--latency", "0,150ms", "--late-steps", "ledger,skip", "--output", "out", "--json", "out.json"]
    code, errors = Eval("eval", "sim.yaml", *arguments).wait()
    assert code == 0, errors
    figures = json.loads(Path("out.json").read_text())
    assert [(v["name"], v["latency_p50_ms"], v["mode"]) for v in figures["variants"]] == [
        ("ledger_0ms", 0.0, "latency"),
        ("ledger_150ms", 150.0, "latency"),
        ("skip_0ms", 0.0, "latency"),
        ("skip_150ms", 150.0, "latency"),
    ]
    assert all(v["bundle_sha256"] and v["tasks"][0]["n"] == 2 for v in figures["variants"])
    drawing = ElementTree.fromstring(Path("out/success_over_latency.svg").read_text())
    assert len(drawing.findall("{http://www.w3.org/2000/svg}polyline")) == 2
    page = Path("out/sweep.html").read_text()
    assert all(f'href="{v["name"]}/report.html"' in page for v in figures["variants"])


def test_without_states_for_it_there_is_no_selection(project: Path) -> None:
    Path("sim.yaml").write_text(config_text(fake_config()))
    code, errors = Eval("eval", "sim.yaml", "--execution-horizon", "one,full", "--select", "--output", "out").wait()
    assert code == 2
    assert "selection_episodes_per_task: expected some for --select, got 0" in errors
    assert not Path("out").exists()


def test_a_selection_on_the_tests_own_states_is_refused(tmp_path: Path) -> None:
    config = fake_config(episodes_per_task=10, first_selection_state=9, selection_episodes_per_task=5)
    with pytest.raises(ConfigError, match="expected none of the test's initial states, 0 to 9, got 9 to 13"):
        select(config, tmp_path / "out", [AS_CONFIGURED])
    assert not (tmp_path / "out").exists()


def test_the_selections_configuration_differs_in_its_states_alone() -> None:
    config = fake_config(first_selection_state=30, selection_episodes_per_task=5)
    other = selection_config(config)
    assert (list(other.initial_states), other.suite) == (list(range(30, 35)), config.suite)
    assert yaml_config.loads(config_text(other), SimConfig, "text") == other


def test_every_combination_is_a_variant_and_no_two_share_a_name() -> None:
    choices = Choices(execution_horizons=("full", 4), latencies=("0ms", "100ms"))
    assert [variant.name for variant in choices.variants] == [
        "horizon-full_0ms",
        "horizon-full_100ms",
        "horizon-4_0ms",
        "horizon-4_100ms",
    ]
    assert Choices().variants == (Variant(),)
    with pytest.raises(ConfigError, match="got a twice"):
        _ = Choices(bundles=(Path("x/a"), Path("y/a"))).variants


def made(latency: str, wins: int, n: int = 10) -> Evaluation:
    results: list[EpisodeResult] = [
        episode(initial_state=state, outcome="success" if state < wins else "timeout") for state in range(n)
    ]
    return replace(
        evaluation(Path("out"), *results, mode="latency", latency=latency),
        failure="",
    )


SWEEP = Sweep(
    output=Path("out"),
    variants=(Variant(latency="200ms"), Variant(latency="0ms"), Variant(latency="100ms")),
    evaluations=(made("200ms", 2), made("0ms", 10), made("100ms", 7)),
)


def test_the_curve_goes_from_low_to_high_latency_with_wilson_intervals(tmp_path: Path) -> None:
    ((name, points),) = success_over_latency(SWEEP).items()
    assert name == "as-configured"
    assert [(point.latency_ms, point.rate) for point in points] == [(0.0, 1.0), (100.0, 0.7), (200.0, 0.2)]
    assert points[0].ci95[1] == 1.0
    drawing = svg({"<b>": points})
    assert "<b>" not in drawing
    assert drawing.count("<circle") == 3
    assert [path.name for path in write(replace(SWEEP, output=tmp_path))] == ["sweep.html", "success_over_latency.svg"]


def test_the_table_has_a_row_for_each_variant() -> None:
    lines = text(SWEEP).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["200ms", "0ms", "100ms"]
    assert lines[3].split()[1:4] == ["10", "10", "100%"]


def test_a_sweep_that_broke_off_says_so() -> None:
    broken = replace(SWEEP, evaluations=(replace(SWEEP.evaluations[0], failure="policy_node: ended"),))
    assert broken.failure == "policy_node: ended"
    figures = sweep_json(broken)
    assert (figures["is_complete"], len(figures["variants"])) == (False, 1)
