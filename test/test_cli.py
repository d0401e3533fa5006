"""The command line teaches, and a mistake is one line."""

import subprocess
import sys

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


OPTIONAL = (
    "torch",
    "transformers",
    "onnxruntime",
    "onnx",
    "h5py",
    "jinja2",
    "av",
    "tokenizers",
    "cv2",
    "libero",
    "rclpy",
)


def run_without(packages: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in an environment that lacks some packages."""
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({packages!r}))\n"
        "from vla_ros.cli import main\n"
        f"sys.exit(main({list(arguments)!r}))\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [("--help",), *((command, "--help") for command in COMMANDS)])
def test_help_needs_none_of_the_heavy_packages(arguments: tuple[str, ...]) -> None:
    assert run_without(OPTIONAL, *arguments).returncode == 0


@pytest.mark.parametrize(
    ("package", "arguments", "environment"),
    [
        ("torch", ("train", "config/train/libero_object_tiny.yaml"), "dev"),
        ("jinja2", ("eval", "config/sim/libero_object.yaml"), "runtime"),
        ("h5py", ("demos", "config/sim/libero_object_demos.yaml"), "libero"),
    ],
)
def test_a_command_in_the_wrong_environment_names_the_right_one(
    package: str, arguments: tuple[str, ...], environment: str
) -> None:
    ended = run_without((package,), *arguments)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert f"{package}: expected an installed package, got none; `make setup-{environment}`" in ended.stderr


def test_a_value_out_of_range_on_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "config/sim/libero_object.yaml", "--episodes", "0"]) == 2
    assert capsys.readouterr().err == "vla-ros eval: command line: episodes_per_task: expected >= 1, got 0\n"


@pytest.mark.parametrize("command", [("eval", "config/sim/libero_object.yaml"), ("demo",)])
def test_figures_that_cannot_be_written_are_refused_before_the_run(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--json", "/proc/figures.json"]) == 2
    assert "--json /proc/figures.json: expected a writable file" in capsys.readouterr().err
