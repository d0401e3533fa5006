"""The training benchmark on a tiny policy: what it measures and reports, not how fast it is."""

import json
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import pytest

from test.tiny_policy import write_config, write_demonstrations
from vla_ros import config as yaml_config
from vla_ros.bench.train import PHASES, TrainBenchmark, measure
from vla_ros.bench.train_report import document, text
from vla_ros.commands import bench
from vla_ros.errors import ConfigError
from vla_ros.train.config import TrainConfig


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    data = write_demonstrations(folder / "data")
    return write_config(folder / "train.yaml", data, folder / "run")


@pytest.fixture(scope="module")
def config(training: Path) -> TrainConfig:
    return yaml_config.load(training, TrainConfig)


@pytest.fixture(scope="module")
def measured(config: TrainConfig) -> TrainBenchmark:
    return measure(config, steps=2, rounds=3)


def fixed(**times_s: list[list[float]]) -> TrainBenchmark:
    return TrainBenchmark(
        batch_size=10, times_s={name.replace("_", " "): times for name, times in times_s.items()}, flops=4.0, peak=8.0
    )


def test_every_phase_has_its_updates_of_every_round(measured: TrainBenchmark) -> None:
    assert tuple(measured.times_s) == PHASES
    assert all([len(times) for times in rounds] == [2, 2, 2] for rounds in measured.times_s.values())
    assert all(time > 0 for rounds in measured.times_s.values() for times in rounds for time in times)


def test_nothing_is_left_behind(measured: TrainBenchmark, config: TrainConfig) -> None:
    assert measured.batch_size == config.optimizer.batch_size
    assert not config.output.exists()


def test_accumulation_counts_all_passes_of_an_update(measured: TrainBenchmark, config: TrainConfig) -> None:
    in_two_passes = replace(config, optimizer=replace(config.optimizer, accumulation_steps=2))
    again = measure(in_two_passes, steps=1, rounds=1)
    assert again.flops == measured.flops
    assert len(again.times_s["data path"][0]) == 1


def test_rates_and_ratios_are_medians_over_the_rounds() -> None:
    result = fixed(
        data_path=[[0.5], [0.5], [0.5]],
        bare_loop=[[1.0, 1.0], [2.0, 2.0], [9.0, 9.0]],
        trainer=[[2.0, 2.0], [2.0, 2.0], [12.0, 12.0]],
    )
    assert result.samples_per_s("trainer") == [5.0, 5.0, 10 / 12]
    assert result.trainer_over_bare == pytest.approx(0.75)  # of 0.5, 1 and 0.75
    assert result.data_over_trainer == pytest.approx(4.0)  # of 4, 4 and 24
    assert result.mfu("bare loop") == pytest.approx(4.0 / 2.0 / 8.0)


def test_the_table_holds_the_ratios_beside_what_they_are_to_reach(measured: TrainBenchmark) -> None:
    table = text(measured)
    assert f"trainer / bare loop    {measured.trainer_over_bare:.3f}   to reach: 0.85" in table
    assert all(phase in table for phase in PHASES)


def test_every_figure_has_a_unit(measured: TrainBenchmark, config: TrainConfig) -> None:
    content = document(measured, config)
    assert set(content["units"]) == set(content["figures"])
    assert content["seeds"] == [config.seed]
    assert content["machine"]["cores"] >= 1
    assert content["versions"]["torch"]


def test_the_command_writes_what_it_was_asked_for(training: Path, tmp_path: Path) -> None:
    parser = ArgumentParser()
    bench.add_arguments(parser)
    figures, picture = tmp_path / "figures" / "bench.json", tmp_path / "bench.png"
    options = ["--steps", "1", "--rounds", "1", "--json", str(figures), "--plot", str(picture)]
    assert bench.run(parser.parse_args(["train", str(training), *options])) == 0
    assert json.loads(figures.read_text(encoding="utf-8"))["figures"]["rounds"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_place_that_cannot_be_written_is_refused_before_the_run(training: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    parser = ArgumentParser()
    bench.add_arguments(parser)
    args = parser.parse_args(["train", str(training), "--json", str(tmp_path / "file" / "bench.json")])
    with pytest.raises(ConfigError, match=r"--json .*: expected a writable file, got"):
        bench.run(args)
