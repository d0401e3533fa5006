"""A bundle's folder appears whole, or the one that was there stays."""

from pathlib import Path

import pytest

from vla_ros.bundle import MANIFEST, REQUIRED_FILES
from vla_ros.errors import BundleError, EngineError
from vla_ros.export.staging import check_replaceable, staging


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Looks like a bundle to whoever would replace it."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in (*REQUIRED_FILES, MANIFEST):
        (folder / name).write_text("old")
    return folder


def test_what_was_written_takes_the_place_of_the_old(output: Path) -> None:
    check_replaceable(output)
    with staging(output) as staged:
        (staged / MANIFEST).write_text("new")
        assert (output / MANIFEST).read_text() == "old"
    assert [path.name for path in output.iterdir()] == [MANIFEST]
    assert (output / MANIFEST).read_text() == "new"
    assert output.stat().st_mode & 0o777 == 0o755
    assert list(output.parent.iterdir()) == [output]


def test_an_export_that_fails_leaves_the_old_one_and_nothing_else(output: Path) -> None:
    with pytest.raises(EngineError, match="too far"), staging(output) as staged:  # noqa: PT012
        (staged / MANIFEST).write_text("new")
        raise EngineError("too far from torch")
    assert (output / MANIFEST).read_text() == "old"
    assert list(output.parent.iterdir()) == [output]


def test_a_full_disk_is_one_line_and_leaves_the_old_one(output: Path) -> None:
    with (
        pytest.raises(BundleError, match=r"expected to write the bundle, got: .*No space left"),
        staging(output),
    ):
        raise OSError(28, "No space left on device")
    assert (output / MANIFEST).read_text() == "old"


def test_a_folder_that_cannot_take_its_place_gives_the_old_one_back(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if target == output and not self.name.endswith("-old"):
            raise OSError(18, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(BundleError, match="Invalid cross-device link"), staging(output):
        pass
    assert (output / MANIFEST).read_text() == "old"


def test_a_bundle_with_somebodys_own_files_is_not_replaced(output: Path) -> None:
    (output / "notes.txt").write_text("precious")
    with pytest.raises(BundleError, match=r"expected a policy bundle or nothing, got notes\.txt"):
        check_replaceable(output)


def test_a_file_of_that_name_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("precious")
    with pytest.raises(BundleError, match="expected a policy bundle or nothing, got another folder or file"):
        check_replaceable(tmp_path / "bundle")
