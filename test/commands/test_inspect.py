import argparse
import json
import shutil
from pathlib import Path

import pytest

from vla_ros.commands import inspect
from vla_ros.errors import ConfigError, DatasetError

FIXTURE = Path(__file__).parents[1] / "data" / "fixtures" / "lerobot_v21"


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A YAML file that names a copy of the fixture, which a test may damage."""
    shutil.copytree(FIXTURE, tmp_path / "dataset")
    path = tmp_path / "dataset.yaml"
    path.write_text(f"lerobot: {{path: {tmp_path / 'dataset'}, camera: observation.images.image, convention: libero}}")
    return path


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    inspect.add_arguments(parser)
    return inspect.run(parser.parse_args([str(argument) for argument in arguments]))


def test_it_prints_figures_and_writes_page_and_json(named: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, figures = named.parent / "out" / "page.html", named.parent / "out" / "figures.json"
    assert run(named, "--output", page, "--json", figures) == 0
    output = capsys.readouterr().out
    assert "episodes  3" in output
    assert page.as_uri() in output
    assert "data:image/png;base64," in page.read_text(encoding="utf-8")
    values = json.loads(figures.read_text(encoding="utf-8"))
    assert (values["format"], values["steps"]) == ("lerobot", 21)
    assert {"vla_ros", "python"} <= set(values["versions"])
    assert "cores" in values["machine"]


def test_a_bad_episode_stops_it_or_is_listed(named: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (named.parent / "dataset" / "data" / "chunk-000" / "episode_000001.parquet").unlink()
    with pytest.raises(DatasetError, match=r"episode_000001.parquet: expected a whole parquet file, .*--skip-bad"):
        run(named, "--output", named.parent / "page.html")
    assert not (named.parent / "page.html").exists()
    assert run(named, "--skip-bad") == 0
    output = capsys.readouterr().out
    assert "episodes left out, 1:" in output
    assert "1 of 3 episodes cannot be used" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes", "0"], "--episodes: expected >= 1, got 0"),
        (["--output", "{folder}"], "--output .*: expected a writable file, got: a folder"),
        (["--json", "{folder}/dataset.yaml/x.json"], "--json .*: expected a writable file, got: "),
    ],
)
def test_a_wrong_option_is_refused_before_reading(named: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(named, *(argument.format(folder=named.parent) for argument in arguments))


def test_a_full_disk_is_named(named: Path) -> None:
    with pytest.raises(ConfigError, match="--output /dev/full: expected a writable file, got: No space left on device"):
        run(named, "--output", "/dev/full")
