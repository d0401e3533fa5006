"""Which instruction is in force, and when former results are worth nothing any more."""

import pytest

from vla_ros.control.instruction_gate import InstructionGate
from vla_ros.errors import ObservationError


def refuse_tokens(text: str) -> None:
    if "<" in text:
        raise ObservationError("instruction: expected plain text, got the special token", "special token")


def test_before_the_first_instruction_there_is_none() -> None:
    gate = InstructionGate()
    assert (gate.text, gate.said, gate.was_refused) == ("", None, False)
    assert str(gate.refusal) == "instruction: expected one before the first image, got none"


def test_an_instruction_is_in_force_until_another_one_comes() -> None:
    gate = InstructionGate()
    assert gate.take("go", refuse_tokens)
    assert not gate.take("go", refuse_tokens)
    assert gate.text == "go"
    assert gate.take("stop", refuse_tokens)
    assert gate.text == "stop"


@pytest.mark.parametrize(
    ("said", "reason"), [("", "empty"), ("go\0", "U+0000"), ("a" * 1025, "1024"), ("<s>", "special")]
)
def test_one_that_is_refused_leaves_none_in_force(said: str, reason: str) -> None:
    gate = InstructionGate()
    gate.take("go", refuse_tokens)
    assert gate.take(said, refuse_tokens)
    assert (gate.text, gate.was_refused) == ("", True)
    assert reason in str(gate.refusal)
    assert gate.take(said, refuse_tokens)  # again: whatever is under way is void
    assert gate.take("go", refuse_tokens)
    assert not gate.was_refused


def test_the_tokenizer_judges_what_was_said_before_there_was_one() -> None:
    gate = InstructionGate()
    assert gate.take("<s>", None)
    assert gate.text == "<s>"
    assert gate.said is not None
    assert gate.take(gate.said, refuse_tokens)
    assert gate.text == ""
