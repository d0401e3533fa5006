"""Pickled annotations are data, and nothing in them runs."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from vla_ros.data.safe_pickle import load_object, plain
from vla_ros.errors import DatasetError


def write(path: Path, pickled: bytes) -> Path:
    """A .npy file of one object whose pickle is given."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    path.write_bytes(file.getvalue() + pickled)
    return path


class Command:
    """Runs a shell command when it is unpickled the usual way."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def object_array(value: object) -> np.ndarray:
    array = np.empty((), object)
    array[()] = value
    return array


def test_what_numpy_saved_is_read_back_as_plain_lists(tmp_path: Path) -> None:
    stored = {
        "texts": ["open the drawer", "naïve"],
        "pairs": [(np.int64(3), np.int64(67)), (100, 164)],
        "array": np.arange(6, dtype=">i4").reshape(2, 3),
        "words": np.array(["a", "bc"]),
        "objects": np.array(["x", None], dtype=object),
        "flag": np.bool_(True),
    }
    np.save(tmp_path / "x.npy", stored, allow_pickle=True)  # type: ignore[arg-type]
    loaded = load_object(tmp_path / "x.npy")
    assert {name: plain(value, name) for name, value in loaded.items()} == {
        "texts": ["open the drawer", "naïve"],
        "pairs": [[3, 67], [100, 164]],
        "array": [[0, 1, 2], [3, 4, 5]],
        "words": ["a", "bc"],
        "objects": ["x", None],
        "flag": True,
    }
    assert type(plain(loaded["pairs"], "pairs")[0][0]) is int


@pytest.mark.parametrize("protocol", [3, 4])
def test_files_of_older_numpy_versions_read_too(tmp_path: Path, protocol: int) -> None:
    pickled = pickle.dumps(object_array({"indx": [(np.int64(1), 2)], "emb": np.ones((2, 3))}), protocol)
    if protocol < 4:  # names are text up to there
        pickled = pickled.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
        assert b"_core" not in pickled
    loaded = load_object(write(tmp_path / "x.npy", pickled))
    assert (plain(loaded["indx"], "indx"), plain(loaded["emb"], "emb")) == ([[1, 2]], [[1.0] * 3] * 2)


def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    np.save(tmp_path / "x.npy", {"ann": Command(f"touch {victim}")}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"x\.npy: expected a NumPy file of plain data, got: a call of \w+\.system"):
        load_object(tmp_path / "x.npy")
    assert not victim.exists()


@pytest.mark.parametrize("name", ["builtins eval", "numpy load", "numpy.core.multiarray fromfile", "builtins getattr"])
def test_any_other_name_is_refused(tmp_path: Path, name: str) -> None:
    module, function = name.split()
    pickled = f"c{module}\n{function}\n(S'1'\ntR.".encode()
    with pytest.raises(DatasetError, match=rf"a call of {module}\.{function}"):
        load_object(write(tmp_path / "x.npy", pickled))


def test_a_dtype_that_takes_bytes_for_objects_is_refused(tmp_path: Path) -> None:
    """NumPy's own unpickling would read these bytes as pointers."""
    array = pickle.dumps(object_array({"indx": np.zeros(2, np.int64)}), 3)
    forged = array.replace(b"i8", b"O8", 1)
    assert forged != array
    loaded = load_object(write(tmp_path / "x.npy", forged))
    with pytest.raises(DatasetError, match="x: indx: expected plain data, got: an array of dtype 'O8'"):
        plain(loaded["indx"], "x: indx")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not numpy at all"])
def test_what_is_no_numpy_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.npy: expected a NumPy file of plain data"):
        load_object(tmp_path / "x.npy")


def test_a_truncated_pickle_and_a_plain_array_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", {"ann": ["text"] * 100}, allow_pickle=True)  # type: ignore[arg-type]
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:-20])
    with pytest.raises(DatasetError, match=r"x\.npy: expected a NumPy file"):
        load_object(tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", np.arange(3))
    with pytest.raises(DatasetError, match=r"got: an array int64 \[3\]"):
        load_object(tmp_path / "y.npy")
    with pytest.raises(DatasetError, match="expected a readable file, got No such file"):
        load_object(tmp_path / "z.npy")
