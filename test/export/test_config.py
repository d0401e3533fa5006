"""What an export config may say, and what the command refuses before it does anything."""

from pathlib import Path

import pytest

from vla_ros import config
from vla_ros.cli import main
from vla_ros.errors import ConfigError
from vla_ros.export.config import ExportConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "config/export").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path: Path) -> None:
    assert config.load(path, ExportConfig).allowed.position_mm <= 10


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("precision: int7", r"precision: expected one of fp32, fp16, .*, got str 'int7'"),
        ("{precision: bf16, compute: fp16}", "compute: expected bf16, as that is the precision, got fp16"),
        ("{precision: fp32, compute: bf16}", "compute: expected fp32, as that is the precision, got bf16"),
        ("{precision: int8, smoothing: 1.0}", r"smoothing: expected in \[0, 1\), got 1\.0"),
        ("{precision: int8, engine: gpu}", "engine: expected one of cpu, onnx_cpu, .*, got 'gpu'"),
        ("{precision: int4, block_size: 0}", "block_size: expected >= 1, got 0"),
        ("{precision: int8, kepe: []}", "kepe: expected one of precision, .*, got 'kepe'"),
        (
            "{precision: int8, tolerance: {position_mm: 0, rotation_deg: 1, gripper_flips: 0}}",
            "position_mm: expected > 0",
        ),
    ],
)
def test_an_impossible_config_is_refused_with_its_field(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "export.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"export\.yaml: (tolerance\.)?{complaint}"):
        config.load(tmp_path / "export.yaml", ExportConfig)


def test_precision_on_the_command_line_is_checked_with_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "export.yaml").write_text("{precision: int8, compute: fp16}")
    arguments = ["--config", str(tmp_path / "export.yaml"), "--precision", "bf16", "--output", str(tmp_path / "b")]
    assert main(["export", "run", *arguments]) == 2
    assert "--precision: compute: expected bf16, as that is the precision, got fp16" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{precision: int8, buckets: [500]}", "buckets: expected 1 to 61 tokens, got (500,)"),
        ("{precision: int8, keep: [hed.*]}", "keep: expected patterns of linear layers such as"),
    ],
)
def test_what_fits_the_policy_not_is_refused_and_nothing_is_written(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    pytest.importorskip("torch")
    (tmp_path / "export.yaml").write_text(text)
    arguments = ["--config", str(tmp_path / "export.yaml"), "--frames", "2", "--output", str(tmp_path / "bundle")]
    assert main(["export", str(tiny_run), *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["export.yaml"]


def test_a_sweep_of_what_is_not_rounded_is_refused(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tiny_run), "--output", str(tmp_path / "b"), "--sensitivity", "layer"]) == 2
    assert "--sensitivity: expected int8, int4 or fp8, got fp32" in capsys.readouterr().err


def test_a_tolerance_that_is_exceeded_leaves_the_old_bundle(
    tiny_run: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    output = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    strict = "tolerance: {position_mm: 1.0e-9, rotation_deg: 1.0, gripper_flips: 1.0}"
    (tmp_path / "export.yaml").write_text(f"precision: int8\n{strict}\n")
    arguments = ["--config", str(tmp_path / "export.yaml"), "--frames", "2", "--output", str(output)]
    assert main(["export", str(tiny_run), *arguments]) == 2
    assert "expected torch's answer within <0.001 mm, got" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "export.yaml"]
