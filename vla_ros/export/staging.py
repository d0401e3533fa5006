"""A bundle's folder appears whole, or the one that was there stays."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vla_ros import bundle
from vla_ros.errors import BundleError

KNOWN = {*bundle.REQUIRED_FILES, bundle.MANIFEST}


def check_replaceable(output: Path) -> None:
    """Raises BundleError if `output` is there and holds anything that is no part of a bundle."""
    if not output.exists():
        return
    names = {path.name for path in output.iterdir()} if output.is_dir() else set()
    if bundle.MANIFEST not in names or names - KNOWN:
        found = ", ".join(sorted(names - KNOWN)[:3]) or "another folder or file"
        raise BundleError(f"{output}: expected a policy bundle or nothing, got {found}")


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """Within the block, an empty folder to fill; after it, that folder is `output`. If it raises, nothing changed.

    Raises:
        BundleError: there is no room, or no right to write.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-"))
    except OSError as error:
        raise BundleError(f"{output}: expected a folder that can be written, got: {error}") from error
    try:
        yield staged
        _flush(staged)
        staged.chmod(0o755)  # a temporary folder is its maker's alone
        _swap(staged, output)
    except OSError as error:
        raise BundleError(f"{output}: expected to write the bundle, got: {error}; the old one is as it was") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _swap(staged: Path, output: Path) -> None:
    old = staged.with_name(f"{staged.name}-old")
    if output.exists():
        output.rename(old)
    try:
        staged.rename(output)
    except OSError:
        if old.exists():
            old.rename(output)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _flush(folder: Path) -> None:
    """To the disk itself: a power cut must not leave a whole manifest beside half of a file."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
