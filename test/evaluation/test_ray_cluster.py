"""`--ray` with a stand-in for Ray that runs every task at once, in this process; tasks are real."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from test.evaluation.bundles import POLICY, ROBOT, write_bundle
from test.evaluation.test_resume import fake_config
from vla_ros.cli import main
from vla_ros.errors import ConfigError
from vla_ros.evaluation import ray_cluster, runner
from vla_ros.evaluation.plan import config_text
from vla_ros.evaluation.ray_cluster import MAX_EPISODES, PARTS_A_WORKER, deal, on_ray
from vla_ros.evaluation.runner import evaluate
from vla_ros.sim.episode import read_results


class FakeRay:
    """The part of Ray's interface that is used."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self) -> None:
        self.calls: list[str] = []

    def init(self, **options: Any) -> None:
        self.calls.append("init")

    def shutdown(self) -> None:
        self.calls.append("shutdown")

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 5.0}

    def remote(self, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        assert options == {"num_cpus": 2, "max_retries": 0}
        return lambda function: SimpleNamespace(remote=lambda *arguments: (function, arguments))

    def wait(self, references: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return references[-num_returns:], references[:-num_returns]

    def get(self, reference: Any) -> Any:
        function, arguments = reference
        self.calls.append("get")
        return function(*arguments)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    return ray


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text(f"{POLICY}    engine: ok\n")
    Path("robot.yaml").write_text(ROBOT)
    write_bundle(Path("models/tiny"), camera_px=32)
    return tmp_path


def test_without_ray_the_command_that_installs_it_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    Path("sim.yaml").write_text(config_text(fake_config()))
    assert main(["eval", "sim.yaml", "--ray", "--output", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line == f"vla-ros eval: --ray: expected the package ray, got none; {sys.executable} -m pip install 'ray>=2.40'"
    )
    assert not Path("out").exists()


def fake_part(files: dict[str, str], expected: dict[str, object], project: str, episodes: list[Any]) -> Any:
    """Instead of processes: a line for each episode."""
    import json
    from dataclasses import asdict

    from test.evaluation.episodes import episode

    assert set(files) == {"config.yaml", "policy.yaml", "robot.yaml"}
    assert project == str(Path.cwd())
    lines = [json.dumps(asdict(episode(task_index=task, initial_state=state))) for task, state in episodes]
    if (0, 1) in episodes and not Path("mended").exists():
        return lines[0] + "\n", {}, "policy_node: ended with exit code 3"
    return "".join(f"{line}\n" for line in lines), {f"{episodes[0]}.mp4": b"film"}, ""


def test_every_episode_comes_back_once_also_after_a_part_broke_off(
    project: Path, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "run_part", fake_part)
    config = fake_config(episodes_per_task=20)
    first = evaluate(config, Path("out"), run=on_ray(2))
    assert first.failure == "policy_node: ended with exit code 3"
    assert 0 < len(first.results) < 40
    Path("mended").touch()
    second = evaluate(config, Path("out"), run=on_ray(2))
    assert second.failure == ""
    assert Counter(result.key for result in second.results) == dict.fromkeys(config.episodes, 1)
    assert [result.key for result in second.results] == list(config.episodes)
    assert (ray.calls.count("init"), ray.calls.count("shutdown")) == (2, 2)
    assert list(Path("out").glob("*.mp4"))


def test_a_part_is_run_by_real_processes_in_a_folder_of_its_own(
    project: Path, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test.node.fleet import ROOT

    shim = Path("fake/vla_ros_fake_shard.py")
    shim.parent.mkdir()
    shim.write_text(
        "import sys\nfrom pathlib import Path\nimport test.evaluation.fake_eval\n"
        "from vla_ros.evaluation import shard\nsys.exit(shard.main(Path(sys.argv[1])))\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{shim.parent.absolute()}")
    monkeypatch.setattr(ray_cluster, "SHARD_PROGRAM", "vla_ros_fake_shard")
    config = fake_config(tasks=(0,), episodes_per_task=3)
    found = evaluate(config, Path("out"), run=on_ray(1))
    assert found.failure == ""
    assert [result.outcome for result in found.results] == ["success"] * 3
    assert len(list(read_results(Path("out/episodes.jsonl")))) == 3
    for name in ("gate.json", "policy_node.log"):
        assert list(Path("out/workers").glob(f"part-*/{name}"))


@pytest.mark.parametrize("name", ["bundle sha256", "version of numpy"])
def test_a_machine_with_another_policy_or_version_is_refused(
    project: Path, ray: FakeRay, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = fake_config(tasks=(0,), episodes_per_task=1)
    real = ray_cluster.run_part

    def elsewhere(*arguments: Any) -> Any:
        write_bundle(Path("models/tiny/../moved"), camera_px=32)
        return real(arguments[0], arguments[1] | {name: "f" * 64}, *arguments[2:])

    monkeypatch.setattr(ray_cluster, "run_part", elsewhere)
    found = evaluate(config, Path("out"), run=on_ray(1))
    assert found.failure.startswith("models/tiny on ")
    assert f": expected {name} {'f' * 64} as on the machine that asks, got " in found.failure
    assert found.results == ()


def test_parts_are_dealt_evenly() -> None:
    episodes = [(task, state) for task in range(3) for state in range(50)]
    parts = deal(episodes, 4)
    assert len(parts) == 4 * PARTS_A_WORKER
    assert sorted(key for part in parts for key in part) == episodes
    assert {len(part) for part in parts} == {9, 10}
    assert deal([(0, 0)], 8) == [[(0, 0)]]
    assert max(len(part) for part in deal([(0, state) for state in range(1000)], 1)) == MAX_EPISODES


def test_ray_is_imported_only_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert runner.local(1) is not None
    with pytest.raises(ConfigError):
        on_ray(None)
