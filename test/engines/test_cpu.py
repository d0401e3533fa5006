"""What is known of a CPU by its flags."""

from pathlib import Path

import pytest

from vla_ros.engines.cpu import cpu_flags, saturates_int8

INFO = """processor\t: 0
model name\t: some CPU
flags\t\t: fpu sse2 avx2

processor\t: 1
flags\t\t: fpu sse2 avx2
"""


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"sse2", "avx2"}, True),
        ({"sse2", "avx2", "avx512f"}, True),
        ({"sse2", "avx_vnni"}, False),
        ({"sse2", "avx512_vnni"}, False),
        ({"sse2", "amx_int8"}, False),
        ({"asimddp"}, False),
        (set(), False),
    ],
)
def test_8_bit_products_saturate_on_x86_before_vnni(flags: set[str], expected: bool) -> None:
    assert saturates_int8(frozenset(flags)) is expected


def test_flags_are_those_of_the_first_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(INFO)
    monkeypatch.setattr("vla_ros.engines.cpu.CPU_INFO", tmp_path / "cpuinfo")
    assert cpu_flags() == {"fpu", "sse2", "avx2"}


def test_a_system_that_does_not_say_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_ros.engines.cpu.CPU_INFO", tmp_path / "absent")
    assert cpu_flags() == frozenset()
