"""Strict YAML: what is wrong is said in one line that names file, path, expected and got."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from vla_ros import config
from vla_ros.contract import PolicyContract
from vla_ros.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    rate_hz: float
    mode: Literal["full", "half"] = "full"

    def __post_init__(self) -> None:
        if self.rate_hz <= 0:
            raise ValueError(f"rate_hz: expected > 0, got {self.rate_hz}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    inner: Inner
    names: tuple[str, ...] = ()
    size: tuple[int, int] = (1, 1)
    weights: dict[str, float] | None = None
    folder: Path = Path()


def test_a_whole_file_becomes_a_frozen_dataclass() -> None:
    text = "inner: {rate_hz: 20}\nnames: [a, b]\nsize: [2, 3]\nweights: {x: 1}\nfolder: models/x\n"
    assert config.loads(text, Outer, "x.yaml") == Outer(
        inner=Inner(rate_hz=20.0), names=("a", "b"), size=(2, 3), weights={"x": 1.0}, folder=Path("models/x")
    )


def test_a_mapping_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/inner.yaml").write_text("{rate_hz: 5, mode: half}")
    (tmp_path / "outer.yaml").write_text("inner: parts/inner.yaml")
    assert config.load(tmp_path / "outer.yaml", Outer) == Outer(inner=Inner(rate_hz=5.0, mode="half"))


def test_a_mistake_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("rate_hz: 0")
    (tmp_path / "outer.yaml").write_text("inner: inner.yaml")
    with pytest.raises(ConfigError) as error:
        config.load(tmp_path / "outer.yaml", Outer)
    assert str(error.value) == f"{tmp_path / 'inner.yaml'}: rate_hz: expected > 0, got 0.0"


def test_a_missing_included_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "outer.yaml").write_text("inner: gone.yaml")
    with pytest.raises(ConfigError, match=r"gone\.yaml: expected a readable YAML file, got No such file"):
        config.load(tmp_path / "outer.yaml", Outer)


def test_text_without_a_file_includes_nothing() -> None:
    """A bundle's contract comes from strangers: it must not make anyone read another file."""
    with pytest.raises(ConfigError, match=r"inner: expected a mapping, got str '/etc/x\.yaml'"):
        config.loads("inner: /etc/x.yaml", Outer, "policy.yaml")


def test_what_is_dumped_loads_back_to_the_same() -> None:
    outer = Outer(inner=Inner(rate_hz=2.5, mode="half"), names=("a", "1"), weights={"x": 1.0}, folder=Path("a/b"))
    assert config.loads(config.dumps(outer), Outer, "x.yaml") == outer


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("inner: {rate_hz: 1, rat: 2}", "x.yaml: inner.rat: expected one of rate_hz, mode, got 'rat'"),
        ("inner: {}", "x.yaml: inner.rate_hz: expected float, got nothing"),
        ("inner: {rate_hz: fast}", "x.yaml: inner.rate_hz: expected float, got str 'fast'"),
        ("inner: {rate_hz: true}", "x.yaml: inner.rate_hz: expected float, got bool True"),
        ("inner: {rate_hz: 0}", "x.yaml: inner.rate_hz: expected > 0, got 0.0"),
        ("inner: {rate_hz: 1, mode: most}", "x.yaml: inner.mode: expected one of full, half, got str 'most'"),
        ("inner: 3", "x.yaml: inner: expected a mapping, got int 3"),
        ("inner: {rate_hz: 1}\nnames: [1]", r"x.yaml: names\[0\]: expected str, got int 1"),
        ("inner: {rate_hz: 1}\nsize: [1]", r"x.yaml: size: expected tuple\[int, int\], got list \[1\]"),
        ("- 1", "x.yaml: top level: expected a mapping, got list"),
        ("inner: {rate_hz: 1}\ninner: {rate_hz: 2}", "x.yaml: expected YAML, got: line 2: key 'inner' is given twice"),
        ("a: &a [1]\nb: *a", "x.yaml: expected YAML, got: line 2: aliases are not allowed"),
        ("a: !!python/object/apply:os.system [ls]", "x.yaml: expected YAML, got: could not determine a constructor"),
        ("a: [", "x.yaml: expected YAML, got:"),
        ("? [a, b]\n: 1", "x.yaml: expected YAML, got: line 1: expected a plain key, got a sequence"),
        ("? {a: b}\n: 1", "x.yaml: expected YAML, got: line 1: expected a plain key, got a mapping"),
        ("folder: 2026-99-99", "x.yaml: expected YAML, got: month must be in 1..12"),
        ("folder: !!int ''", "x.yaml: expected YAML, got:"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as error:
        config.loads(text, Outer, "x.yaml")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.yaml: expected a readable YAML file, got No such file"):
        config.load(tmp_path / "none.yaml", Outer)


CONTRACT = {
    "name": "tiny",
    "backbone": "qwen3_vl",
    "recipe": "paper",
    "camera": {"name": "agentview", "width": 64, "height": 64},
    "image": {
        "size_px": 64,
        "patch_size_px": 16,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    },
    "prompt": {"template": "qwen_long", "max_tokens": 80},
    "action": {"frame_id": "base", "rotation": "axis_angle", "control_rate_hz": 20.0},
    "chunk_size": 4,
    "statistics_sha256": "0" * 64,
}


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("chunk_size", 0, "chunk_size: expected >= 1, got 0"),
        ("camera.width", 0, "camera.width: expected >= 1, got 0"),
        ("camera.height", -1, "camera.height: expected >= 1, got -1"),
        ("image.size_px", 0, "image.size_px: expected >= 1, got 0"),
        ("image.patch_size_px", 0, "image.patch_size_px: expected >= 1, got 0"),
        ("image.merge_size", 0, "image.merge_size: expected >= 1, got 0"),
        ("image.temporal_patch_size", 0, "image.temporal_patch_size: expected >= 1, got 0"),
        (
            "image.mean",
            [0.5, 0.5, float("nan")],
            "image.mean: expected a finite number, got (0.5, 0.5, nan)",
        ),
        ("image.std", [0.5, 0.5, 0.0], "image.std: expected > 0, got (0.5, 0.5, 0.0)"),
        ("image.std", [0.5, 0.5, float("nan")], "image.std: expected > 0, got (0.5, 0.5, nan)"),
        ("prompt.max_tokens", 0, "prompt.max_tokens: expected >= 1, got 0"),
        ("action.control_rate_hz", 0.0, "action.control_rate_hz: expected a positive number, got 0.0"),
        ("action.frame_id", "", "action.frame_id: expected a frame name, got an empty string"),
    ],
)
def test_a_contract_out_of_range_names_file_and_path(path: str, value: object, complaint: str) -> None:
    fields = copy.deepcopy(CONTRACT)
    config.build(fields, PolicyContract, "policy.yaml")
    *parents, name = path.split(".")
    section: dict[str, object] = fields
    for parent in parents:
        section = section[parent]  # type: ignore[assignment]
    section[name] = value
    with pytest.raises(ConfigError) as error:
        config.build(fields, PolicyContract, "policy.yaml")
    assert str(error.value) == f"policy.yaml: {complaint}"
