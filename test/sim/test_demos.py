"""Collection as a process: what is kept, what is counted, what a killed run leaves. No LIBERO needed."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from vla_ros.data.libero_writer import Recording, write_file
from vla_ros.errors import ConfigError, SimulatorError
from vla_ros.sim import demos
from vla_ros.sim.perturbation import Noise, NoiseSource


class FakeAttempts:
    """Stands in for a worker: which attempts were made, and a tiny file for each that succeeds."""

    def __init__(self, failing: set[int]) -> None:
        self.failing, self.made = failing, list[int]()

    def __call__(self, task_index: int, attempt: int, path: str) -> bool:
        self.made.append(attempt)
        if attempt in self.failing:
            return False
        datasets = {"actions": np.zeros((2, 7)), "states": np.zeros((2, 3))}
        write_file(Path(path), {}, [Recording(datasets=datasets, phase_names=(), attributes={"attempt": attempt})])
        return True


def collect(config: demos.DemosConfig, attempts: FakeAttempts, monkeypatch: pytest.MonkeyPatch) -> demos.Collected:
    monkeypatch.setattr(demos, "_attempt", attempts)
    with ThreadPoolExecutor(2) as pool:
        return demos._collect_task(config, 0, "pour", pool)


def kept_attempts(file: Path) -> list[int]:
    with h5py.File(file) as root:
        return [int(root[f"data/demo_{i}"].attrs["attempt"]) for i in range(root["data"].attrs["num_demos"])]


def config(tmp_path: Path, episodes: int) -> demos.DemosConfig:
    return demos.DemosConfig(output=tmp_path, episodes_per_task=episodes, workers=2)


def test_failed_attempts_are_dropped_counted_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = collect(config(tmp_path, 4), FakeAttempts({0, 3}), monkeypatch)
    assert (result.kept, result.dropped) == (4, 2)
    assert kept_attempts(result.file) == [1, 2, 4, 5]
    assert [path.name for path in tmp_path.iterdir()] == ["pour_demo.hdf5"]


def test_a_killed_collection_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tmp_path / "pour_demo.parts"
    parts.mkdir()
    earlier = FakeAttempts(set())
    for attempt in (0, 2):
        earlier(0, attempt, str(parts / f"attempt_{attempt:06d}.hdf5"))
    (parts / ".attempt_000001.hdf5.99.partial").write_bytes(b"half an episode")
    later = FakeAttempts(set())
    result = collect(config(tmp_path, 4), later, monkeypatch)
    assert sorted(later.made) == [1, 3]
    assert kept_attempts(result.file) == [0, 1, 2, 3]


def test_what_a_killed_collection_had_dropped_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(FakeAttempts):
        def __call__(self, task_index: int, attempt: int, path: str) -> bool:
            if attempt == 5:
                raise KeyboardInterrupt
            return super().__call__(task_index, attempt, path)

    with pytest.raises(KeyboardInterrupt):
        collect(config(tmp_path, 9), Killed({0, 2}), monkeypatch)
    later = FakeAttempts({0, 2})
    result = collect(config(tmp_path, 20), later, monkeypatch)
    assert min(later.made) == 5
    assert kept_attempts(result.file) == [1, *range(3, 22)]
    assert [path.name for path in tmp_path.iterdir()] == ["pour_demo.hdf5"]


def test_a_finished_task_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collect(config(tmp_path, 2), FakeAttempts(set()), monkeypatch)
    again = FakeAttempts(set())
    assert collect(config(tmp_path, 2), again, monkeypatch).kept == 2
    assert again.made == []


def test_an_expert_that_always_fails_ends_the_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SimulatorError, match="got 20 failures of 20"):
        collect(config(tmp_path, 2), FakeAttempts(set(range(1000))), monkeypatch)


def test_noise_has_bursts_except_where_it_must_be_quiet() -> None:
    noise = Noise(white=0.0, burst=1.0, burst_probability=1.0)
    source = NoiseSource(noise, np.random.default_rng(0))
    assert not source.sample(is_quiet=True).any()
    first = source.sample(is_quiet=False)
    assert first.any()
    np.testing.assert_array_equal(source.sample(is_quiet=False), first)
    assert not source.sample(is_quiet=True).any()


def test_episodes_that_an_earlier_run_kept_are_never_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = tmp_path / "pour_demo.parts"
    parts.mkdir()
    for attempt in range(3):
        FakeAttempts(set())(0, attempt, str(parts / f"attempt_{attempt:06d}.hdf5"))
    result = collect(config(tmp_path, 1), FakeAttempts(set()), monkeypatch)
    assert kept_attempts(result.file) == [0, 1, 2]


def test_a_finished_file_with_too_few_episodes_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(config(tmp_path, 2), FakeAttempts(set()), monkeypatch)
    with pytest.raises(ConfigError, match=r"pour_demo.hdf5: demonstrations: expected 5, got 2"):
        collect(config(tmp_path, 5), FakeAttempts(set()), monkeypatch)


def test_episodes_of_another_config_are_not_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tmp_path / "pour_demo.parts"
    parts.mkdir()
    demos._check_same_collection(config(tmp_path, 2), parts / "config.json")
    other = dataclasses.replace(config(tmp_path, 2), noise=Noise(white=0.5))
    with pytest.raises(ConfigError, match=r"config.json: expected the present config, got another"):
        collect(other, FakeAttempts(set()), monkeypatch)
