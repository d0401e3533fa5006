"""The command line teaches, and a mistake is one line."""

import pytest

from vla_ros.cli import COMMANDS, main


def test_help_shows_the_way_from_demonstrations_to_an_arm(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(f"vla-ros {command}" in text or f"\n    {command}" in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert len(capsys.readouterr().out) > 400


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "nowhere.yaml"],
        ["eval", "nowhere.yaml"],
        ["demos", "nowhere.yaml"],
        ["export", "nowhere", "--output", "bundle"],
    ],
)
def test_a_missing_file_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "nowhere" in error
    assert "expected" in error
    assert error.count("\n") == 1
