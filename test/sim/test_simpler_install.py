"""Finding what SimplerEnv needs, without it: this runs in every environment."""

import importlib.util
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest

from vla_ros.errors import SimulatorError
from vla_ros.sim import lavapipe, simpler_install
from vla_ros.sim.simpler import SimplerSimulator

PLACES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS")


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Vulkan's drivers of a machine that has none, with nothing chosen."""
    monkeypatch.setattr(lavapipe, "SYSTEM", ())
    for name in PLACES:
        monkeypatch.setenv(name, str(tmp_path))
    for name in lavapipe.CHOSEN_BY_USER:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "vulkan/icd.d"
    folder.mkdir(parents=True)
    return folder


def write(path: Path, version: str) -> Path:
    path.write_text(json.dumps({"ICD": {"api_version": version, "library_path": "libvulkan_lvp.so"}}))
    return path


@pytest.mark.parametrize("name", ["lvp_icd.json", "lvp_icd.x86_64.json"])
def test_lavapipe_is_found_under_the_names_of_all_distributions(drivers: Path, name: str) -> None:
    path = write(drivers / name, "1.4.305")
    assert lavapipe.find_lavapipe() == path
    lavapipe.choose_lavapipe()
    assert os.environ["VK_ICD_FILENAMES"] == str(path)


def test_a_driver_that_the_user_chose_stays(drivers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", "mine.json")
    lavapipe.choose_lavapipe()
    assert "VK_ICD_FILENAMES" not in os.environ


@pytest.mark.parametrize(
    ("version", "line"),
    [
        (None, r"mesa-vulkan-drivers 25 or newer\), got none; `make setup-simpler` installs it"),
        ("1.3.230", r"got .*lvp_icd\.json with Vulkan 1\.3\.230; `make setup-simpler`"),
    ],
)
def test_a_missing_or_old_lavapipe_is_named_with_the_command_that_mends_it(
    drivers: Path, version: str | None, line: str
) -> None:
    if version:
        write(drivers / "lvp_icd.json", version)
    with pytest.raises(SimulatorError, match=line):
        lavapipe.find_lavapipe()


def test_a_missing_maniskill_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        simpler_install.importlib.util, "find_spec", lambda name: None if name == "mani_skill" else find_spec(name)
    )
    with pytest.raises(SimulatorError, match="expected ManiSkill in this environment, got none; run `make setup-simp"):
        SimplerSimulator()


def test_an_unknown_suite_is_refused_before_anything_is_imported() -> None:
    with pytest.raises(SimulatorError, match="suite: expected one of bridge, got 'moon'"):
        SimplerSimulator("moon")


def test_assets_that_cannot_be_downloaded_leave_no_folder_that_looks_like_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Any) -> None:
        (source.output_dir / source.target_path).mkdir(parents=True)  # as ManiSkill does before it downloads
        raise URLError("no network")

    monkeypatch.setenv("MS_ASSET_DIR", str(tmp_path))
    source = SimpleNamespace(output_dir=tmp_path / "data", target_path="tasks/bridge_v2_real2sim_dataset")
    fake = SimpleNamespace(download=fail, DATA_SOURCES=dict.fromkeys(simpler_install.ASSETS, source))
    monkeypatch.setattr(simpler_install, "_import", lambda *names: fake)
    with pytest.raises(SimulatorError, match=r"no network.*`make setup-simpler` again where there is a network"):
        simpler_install.download_assets()
    assert not (tmp_path / "data/tasks/bridge_v2_real2sim_dataset").exists()


def test_assets_that_are_there_are_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MS_ASSET_DIR", str(tmp_path))
    for file in simpler_install.ASSETS.values():
        path = tmp_path / "data" / file
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setattr(simpler_install, "_import", lambda *names: pytest.fail("asked for the downloads"))
    simpler_install.download_assets()
