"""Objects in `.npy` files without running what they say.

CALVIN keeps its language annotations as a pickled dict, and a pickle is a program that may call anything. Here it may
build plain containers, and NumPy arrays as bytes with a shape; every other name in it is refused. Not even NumPy's own
constructors run: given a forged dtype, they take bytes for pointers.
"""

import pickle
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vla_ros.errors import DatasetError

_PLAIN_DTYPE = re.compile(r"[biufSU]\d{1,5}")


class _ArrayType:
    """Stands for the class `numpy.ndarray`, which pickles only name."""

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("the class ndarray has no state")


class _Dtype:
    """A dtype by its letters, e.g. `i8`."""

    def __init__(self, letters: str, *_: object) -> None:
        self.letters, self.byte_order = letters, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("a dtype without a byte order")
        self.byte_order = state[1]

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Any:
        if not _PLAIN_DTYPE.fullmatch(self.letters):
            raise pickle.UnpicklingError(f"an array of dtype {self.letters!r}")
        order = "" if self.byte_order in "|=" else self.byte_order
        return np.frombuffer(data, np.dtype(order + self.letters)).reshape(shape).tolist()


class _Scalar:
    """One number of NumPy's."""

    def __init__(self, dtype: _Dtype, data: bytes) -> None:
        self.dtype, self.data = dtype, data

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a scalar has no state")

    def plain(self) -> Any:
        return self.dtype.decode(self.data, ())


class _Array:
    """An array, in the two steps in which pickle builds it."""

    def __init__(self, *_: object) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.dtype, self.is_fortran, self.data = _Dtype("f8"), False, b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.is_fortran, self.data = state

    def plain(self) -> Any:
        if self.is_fortran and len(self.shape) > 1:
            raise pickle.UnpicklingError("an array in Fortran order")
        return list(self.data) if isinstance(self.data, list) else self.dtype.decode(self.data, self.shape)


_ALLOWED: dict[tuple[str, str], type] = {("numpy", "ndarray"): _ArrayType, ("numpy", "dtype"): _Dtype}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # before and since NumPy 2
    _ALLOWED |= {(_module, "_reconstruct"): _Array, (_module, "scalar"): _Scalar}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"a call of {module}.{name}, which data does not need")
        return _ALLOWED[module, name]


def load_object(path: Path) -> Any:
    """The one object of a `.npy` file that `numpy.save` wrote; `plain` makes lists of the arrays in it.

    Raises:
        DatasetError: it cannot be read, is no such file, or holds more than plain data.
    """
    try:
        with path.open("rb") as file:
            _read_header(file)
            stored = _PlainUnpickler(file).load()
            if not isinstance(stored, _Array) or not isinstance(stored.data, list) or len(stored.data) != 1:
                raise pickle.UnpicklingError("no single object")
            return stored.data[0]
    except OSError as error:
        raise DatasetError(f"{path}: expected a readable file, got {error.strerror}") from error
    except Exception as error:  # a forged pickle can make the unpickler raise whatever there is
        raise DatasetError(f"{path}: expected a NumPy file of plain data, got: {error or repr(error)}") from error


def plain(value: Any, where: str) -> Any:
    """Python's own lists and numbers for what `load_object` found, or a part of it.

    Raises:
        DatasetError: an array in it is not of plain numbers or texts; `where` names the value.
    """
    try:
        return _plain(value)
    except Exception as error:  # as above
        raise DatasetError(f"{where}: expected plain data, got: {error or repr(error)}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, _Array | _Scalar):
        value = value.plain()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _read_header(file: BinaryIO) -> None:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if shape != () or not dtype.hasobject:
        raise ValueError(f"an array {dtype} {list(shape)}")
