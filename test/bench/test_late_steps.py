"""Latency and late steps: a simulation of the real gate."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from vla_ros.bench.late_steps import CHUNK_SIZE, MODES, reach
from vla_ros.cli import main


@pytest.fixture(scope="module")
def without() -> np.ndarray:
    return reach("ledger", 0).positions_m


@pytest.mark.parametrize("mode", MODES)
def test_without_latency_all_are_the_same(mode: str, without: np.ndarray) -> None:
    np.testing.assert_array_equal(reach(mode, 0).positions_m, without)


@pytest.mark.parametrize("latency", range(1, CHUNK_SIZE // 2))
def test_below_half_a_chunk_the_ledger_makes_the_undelayed_reach_only_later(latency: int, without: np.ndarray) -> None:
    """The next chunk is there before the former is used up."""
    late = reach("ledger", latency).positions_m
    np.testing.assert_allclose(late[latency:], without[: len(without) - latency], atol=1e-3)


@pytest.mark.parametrize("latency", range(2, CHUNK_SIZE))
def test_restarting_overshoots_and_the_ledger_does_not(latency: int) -> None:
    assert reach("restart", latency).overshoot_mm > 5
    assert reach("ledger", latency).overshoot_mm < 0.1


@pytest.mark.parametrize("latency", range(1, CHUNK_SIZE))
def test_skipping_arrives_no_sooner_than_the_ledger(latency: int) -> None:
    assert reach("skip", latency).arrival_s >= reach("ledger", latency).arrival_s


def test_the_command_writes_a_table_figures_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures, picture = tmp_path / "late.json", tmp_path / "late.png"
    assert main(["bench", "late-steps", "--json", str(figures), "--plot", str(picture)]) == 0
    rows = json.loads(figures.read_text())["figures"]["rows"]
    assert len(rows) == len(MODES) * CHUNK_SIZE
    assert {row["late_steps"] for row in rows} == set(MODES)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "350 ms" in capsys.readouterr().out


def test_a_plot_that_cannot_be_drawn_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["bench", "late-steps", "--plot", str(tmp_path / "late.png")]) == 2
    printed = capsys.readouterr()
    assert "matplotlib.figure: expected an installed package, got none; `make setup-dev`" in printed.err
    assert not printed.out
    assert not (tmp_path / "late.png").exists()
