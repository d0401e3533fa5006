"""Strict YAML: what is wrong is said in one line that names file, path, expected and got."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from vla_ros import config
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
    ],
)
def test_a_wrong_file_is_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as error:
        config.loads(text, Outer, "x.yaml")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.yaml: expected a readable YAML file, got No such file"):
        config.load(tmp_path / "none.yaml", Outer)
