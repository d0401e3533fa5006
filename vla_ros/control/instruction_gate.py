"""What a policy may be told: text that its tokenizer reads as plain text; all else leaves no instruction in force."""

from collections.abc import Callable

from vla_ros.errors import ObservationError
from vla_ros.processing.instruction import check_instruction

NO_INSTRUCTION = ObservationError("instruction: expected one before the first image, got none", "no instruction")


class InstructionGate:
    """Keeps the instruction in force.

    Attributes:
        said: the last one that was given, as it came; None before the first.
        text: the one in force; empty while there is none.
        refusal: why there is none, while there is none.
    """

    def __init__(self) -> None:
        self.said: str | None = None
        self.text = ""
        self.refusal = NO_INSTRUCTION

    @property
    def was_refused(self) -> bool:
        """Whether the last one that was given is not in force."""
        return self.said is not None and not self.text

    def take(self, said: str, admit: Callable[[str], None] | None) -> bool:
        """Put an instruction in force, or none if it is refused; returns whether it is another one than before.

        Args:
            said: as it came.
            admit: raises ObservationError where the policy cannot be told this; None before there is a policy, and then
                the instruction must be taken again once there is one.
        """
        former, self.said, self.text = self.text, said, ""
        try:
            check_instruction(said)
            if admit is not None:
                admit(said)
            self.text = said
        except ObservationError as refusal:
            self.refusal = refusal
        return self.text != former or not self.text
