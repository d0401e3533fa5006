"""What counts as an instruction, for every process that receives one."""

from vla_ros.errors import ObservationError

MAX_INSTRUCTION_BYTES = 1024


def check_instruction(text: str, source: str = "instruction") -> None:
    """Refuse an instruction that no policy should see.

    Raises:
        ObservationError: empty, longer than 1 KiB, or with characters that do not print: controls, text direction
            marks, and the replacement character that stands for bytes that were not UTF-8.
    """
    if not text.strip():
        raise ObservationError(f"{source}: text: expected an instruction, got an empty string", "empty instruction")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_INSTRUCTION_BYTES:
        raise ObservationError(
            f"{source}: text: expected <= {MAX_INSTRUCTION_BYTES} bytes, got {size}", "huge instruction"
        )
    for position, character in enumerate(text):
        if character == "\ufffd" or not character.isprintable():
            found = f"U+{ord(character):04X} at position {position}"
            raise ObservationError(f"{source}: text: expected printable UTF-8 text, got {found}", "control character")
