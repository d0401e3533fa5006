"""What no operator says is refused, and named."""

import pytest

from vla_ros.errors import ObservationError
from vla_ros.processing.instruction import check_instruction


@pytest.mark.parametrize("text", ["pick up the soup", "nimm die Dose", "ご飯を取って", "a" * 1024])
def test_plain_instructions_are_admitted(text: str) -> None:
    check_instruction(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty instruction"),
        (" \t", "empty instruction"),
        ("a" * 1025, "huge instruction"),
        ("é" * 513, "huge instruction"),
        ("x" * 10_000_000, "huge instruction"),
        ("go\x00", "control character"),
        ("go\x1b[0m", "control character"),
        ("go \ufffd", "control character"),
        ("go\u202eback", "control character"),
        ("go\nback", "control character"),
    ],
)
def test_other_instructions_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ObservationError, match=r"^instruction: text: expected") as refusal:
        check_instruction(text)
    assert refusal.value.reason == reason
