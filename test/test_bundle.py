"""A bundle is whole and unaltered, or nothing of it is parsed."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from test.tiny_policy import reseal
from vla_ros.bundle import MANIFEST, REQUIRED_FILES, Bundle, manifest_bytes, parse_manifest
from vla_ros.cli import main
from vla_ros.errors import BundleError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_a_whole_bundle_opens(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.contract.name == "tiny"
    assert opened.contract.chunk_size == 4
    assert len(opened.sha256) == 64


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_one_flipped_bit_anywhere_is_refused(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    random = np.random.default_rng(0)
    for position in random.integers(0, len(data), 20):
        bit = 1 << int(random.integers(8))
        data[position] ^= bit
        (bundle / name).write_bytes(data)
        with pytest.raises(BundleError, match=rf"{name}: sha256: expected [0-9a-f]{{64}}, got"):
            Bundle.open(bundle)
        data[position] ^= bit


def test_every_flipped_bit_of_the_manifest_is_refused(tmp_path: Path) -> None:
    shipped = json.loads((ROOT / "models/libero-object-ten" / MANIFEST).read_text())
    whole = manifest_bytes({**shipped, "tool_versions": {"torch": "2.13.0", "name": "größer"}})
    manifest_path = tmp_path / MANIFEST
    parse_manifest(manifest_path, whole)
    for position in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[position] ^= 1 << bit
            with pytest.raises(BundleError, match=r"manifest\.json: .*expected"):
                parse_manifest(manifest_path, bytes(data))


def test_a_changed_value_of_the_manifest_names_both_hashes(bundle: Path) -> None:
    text = (bundle / MANIFEST).read_text()
    (bundle / MANIFEST).write_text(text.replace('"fp32"', '"fp16"', 1))
    with pytest.raises(BundleError, match=r"manifest\.json: sha256: expected [0-9a-f]{64}, got [0-9a-f]{64}; copy"):
        Bundle.open(bundle)


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_a_cut_file_is_refused_with_both_sizes(bundle: Path, name: str) -> None:
    data = (bundle / name).read_bytes()
    (bundle / name).write_bytes(data[:-1])
    with pytest.raises(BundleError, match=rf"{name}: size: expected {len(data)} bytes, got {len(data) - 1}"):
        Bundle.open(bundle)


@pytest.mark.parametrize("name", [*REQUIRED_FILES, MANIFEST])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: expected a file, got No such file"):
        Bundle.open(bundle)


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none: expected a policy bundle's folder, got nothing there"):
        Bundle.open(tmp_path / "none")


def test_a_file_that_the_manifest_does_not_name_is_refused(bundle: Path) -> None:
    (bundle / "extra.py").write_text("print('hello')")
    with pytest.raises(BundleError, match=r"got also extra\.py"):
        Bundle.open(bundle)


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo"])
def test_what_is_no_plain_file_is_refused(bundle: Path, tmp_path: Path, kind: str) -> None:
    inside, outside = bundle / "policy.onnx", tmp_path / "elsewhere.onnx"
    inside.rename(outside)
    if kind == "symlink":
        inside.symlink_to(outside)
    elif kind == "hardlink":
        os.link(outside, inside)
    else:
        os.mkfifo(inside)
    with pytest.raises(BundleError, match=r"policy\.onnx: expected a regular file with one name"):
        Bundle.open(bundle)


def test_a_manifest_cannot_name_files_elsewhere(bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"]["../policy.onnx"] = manifest["files"].pop("policy.onnx")
    (bundle / MANIFEST).write_bytes(manifest_bytes(manifest))
    with pytest.raises(BundleError, match=r"manifest\.json: files: expected MODEL_CARD\.md"):
        Bundle.open(bundle)


def test_statistics_of_another_policy_are_refused_even_when_resealed(bundle: Path) -> None:
    statistics = bundle / "statistics.json"
    fields = json.loads(statistics.read_text())
    fields["q99"][0] *= 2
    statistics.write_text(json.dumps(fields))
    with pytest.raises(BundleError, match=r"policy\.yaml: statistics_sha256: expected"):
        reseal(bundle)


def test_check_says_in_one_line_what_is_wrong(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(bundle)]) == 0
    assert "ok" in capsys.readouterr().out
    with (bundle / "policy.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff\x00")
    assert main(["check", str(bundle), "--json", str(tmp_path / "report.json")]) == 1
    assert capsys.readouterr().out.count("\n") == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert not report["ok"]
    assert "policy.onnx: sha256" in report["problems"][0]
