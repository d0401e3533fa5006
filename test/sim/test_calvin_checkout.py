"""Finding the user's checkout of mees/calvin; what is missing is named, with the command that mends it."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from vla_ros.errors import SimulatorError
from vla_ros.sim import calvin_chains
from vla_ros.sim.calvin_chains import as_text, fnv1_32
from vla_ros.sim.calvin_checkout import (
    NEEDED,
    check_checkout,
    check_unchanged,
    checkout_sha256,
    find_checkout,
    join_checkout,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the files that are looked for."""
    folder = tmp_path / "calvin"
    for name in (*NEEDED, "calvin_env/calvin_env/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


def test_a_whole_checkout_is_found_whole(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout.parent)
    assert check_checkout(Path("calvin")) == checkout


def test_no_checkout_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match=r"expected a checkout of mees/calvin, got none; `git clone --recurse-sub"):
        check_checkout(tmp_path)


def test_a_checkout_without_its_submodule_names_the_command_that_fetches_it(checkout: Path) -> None:
    for name in NEEDED:
        if name.startswith("calvin_env/"):
            (checkout / name).unlink()
    mend = f"git -C {checkout} submodule update --init"
    with pytest.raises(SimulatorError, match=rf"calvin_env: expected mees/calvin's submodule, got none; run `{mend}`"):
        check_checkout(checkout)


def test_a_missing_file_is_named(checkout: Path) -> None:
    (checkout / NEEDED[1]).unlink()
    with pytest.raises(SimulatorError, match=rf"expected {NEEDED[1]} in a checkout of mees/calvin"):
        check_checkout(checkout)


def test_its_version_is_what_decides_over_results(checkout: Path) -> None:
    first = checkout_sha256(checkout)
    (checkout / "README.md").write_text("changed")
    (checkout / "calvin_env/calvin_env/__pycache__").mkdir()
    (checkout / "calvin_env/calvin_env/__pycache__/a.pyc").write_text("compiled")
    assert checkout_sha256(checkout) == first
    (checkout / NEEDED[3]).write_text("gravity = 0")
    assert checkout_sha256(checkout) != first


def test_a_joined_checkout_is_importable_and_has_a_version(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkout.parent / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    paths = {"base": str(folder), "platbase": str(folder)}
    site = sysconfig.get_path("purelib", "venv" if sys.version_info >= (3, 11) else "posix_prefix", paths)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: site)
    monkeypatch.setattr(sys, "base_prefix", "/elsewhere")
    version = join_checkout(checkout)
    code = "import calvin_env, importlib.metadata as m; print(calvin_env.__file__, m.version('calvin-checkout'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == [str(checkout / "calvin_env/calvin_env/__init__.py"), version]


def test_a_checkout_that_was_changed_since_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joined = f"0+{checkout_sha256(checkout)[:16]}"
    monkeypatch.setattr("importlib.metadata.version", lambda name: joined)
    check_unchanged(checkout)
    (checkout / NEEDED[1]).write_text("open_drawer: always done")
    with pytest.raises(
        SimulatorError, match=rf"expected version {re.escape(joined)} as set up, .*`make setup-calvin CA"
    ):
        check_unchanged(checkout)


def test_an_environment_without_one_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SimulatorError, match=r"in this environment, got none; run `make setup-calvin CALVIN="):
        find_checkout()


def test_make_says_what_is_missing_before_it_installs_anything(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["make", "setup-calvin", f"CALVIN={tmp_path}", f"PYTHON={sys.executable}"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert made.returncode != 0
    assert f"vla_ros: {tmp_path}: expected a checkout of mees/calvin, got none" in made.stderr
    assert "installing" not in made.stdout


def test_the_hash_behind_the_blocks_places_is_pyhashs() -> None:
    """Its own test vectors (flier/pyfasthash, tests/test_fnv1.py): "test" as text, and as bytes."""
    assert fnv1_32("test") == 3910690890
    assert fnv1_32("") == 0


def test_the_order_of_a_starts_words_is_kept() -> None:
    assert as_text([({"led": 1, "drawer": "open"}, ("a", "b"))]) == '[[{"led":1,"drawer":"open"},["a","b"]]]'


def test_chains_that_are_not_the_benchmarks_are_refused(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calvin_chains, "find_checkout", lambda: checkout)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(SimulatorError, match=r"expected the benchmark's chains, got: No such file.*make setup-calvin"):
        calvin_chains.load_chains()
    path = calvin_chains._cache()
    path.parent.mkdir(parents=True)
    path.write_text(as_text([({"led": 1}, ("open_drawer",) * 5)]))
    with pytest.raises(SimulatorError, match=r"expected the benchmark's 1000 chains, got others"):
        calvin_chains.load_chains()


def test_provenance_asks_for_the_checkouts_version() -> None:
    from vla_ros.evaluation.provenance import SIMULATOR_PACKAGES
    from vla_ros.sim.calvin_checkout import DISTRIBUTION

    assert DISTRIBUTION in SIMULATOR_PACKAGES["calvin"]
