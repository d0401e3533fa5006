"""The policies in models/, as a user gets them."""

from pathlib import Path

import pytest

from vla_ros.bundle import Bundle
from vla_ros.engines.policy_runner import PolicyRunner

MODELS = Path(__file__).parents[1] / "models"
BUNDLES = sorted(path.parent for path in MODELS.glob("*/manifest.json"))


def test_there_is_one_in_fp32_and_one_in_8_bits() -> None:
    assert [Bundle.open(path).manifest.graph.precision for path in BUNDLES] == ["fp32", "int8"]


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_it_answers_on_this_cpu_what_it_answered_when_it_was_exported(path: Path) -> None:
    PolicyRunner.open(path, "cpu", threads=1)  # raises if the golden observation's answer is another one


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_its_card_says_how_often_it_succeeds(path: Path) -> None:
    assert " of 200**" in (path / "MODEL_CARD.md").read_text()


def test_together_they_are_small_enough_for_a_repository() -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*")) < 60e6
