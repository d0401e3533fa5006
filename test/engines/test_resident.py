"""Pages of a mapped file are given back; their contents are not lost."""

import mmap
from pathlib import Path

import pytest

from vla_ros.engines.resident import drop_pages

SIZE = 32 * 2**20


def resident_file_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))


@pytest.mark.parametrize("kind", [mmap.MAP_SHARED, mmap.MAP_PRIVATE], ids=["shared", "private"])
def test_pages_that_were_read_leave_memory_and_come_back(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    with path.open("rb") as file, mmap.mmap(file.fileno(), SIZE, flags=kind, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[::4096]) == 0  # every page is touched
        before = resident_file_bytes()
        drop_pages(path)
        assert before - resident_file_bytes() > SIZE // 2
        assert mapped[4096 + 7] == 7


def test_a_file_that_is_not_mapped_is_no_error(tmp_path: Path) -> None:
    drop_pages(tmp_path / "nothing")
