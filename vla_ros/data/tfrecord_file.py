"""Random access to the records of a TFRecord file: where each lies, and its bytes with their checksum verified.

A record is its length (uint64), a checksum of the length, the data, and a checksum of the data, all little-endian.
The readers on PyPI go through such a file from its beginning only, and verify neither.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import crc32c

from vla_ros.errors import DatasetError

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Span:
    """Where a record's data lie in their file [bytes]."""

    offset: int
    size: int


def find_records(file: Path) -> list[Span]:
    """The whole records of a file, in order, without reading their data; stops where the file is cut off or damaged."""
    spans: list[Span] = []
    try:
        end = file.stat().st_size
        with file.open("rb") as handle:
            start = 0
            while start + _HEADER.size <= end:
                handle.seek(start)
                header = handle.read(_HEADER.size)
                size, checksum = _HEADER.unpack(header)
                offset = start + _HEADER.size
                if checksum != masked_crc32c(header[:8]) or offset + size + _FOOTER.size > end:
                    break
                spans.append(Span(offset, size))
                start = offset + size + _FOOTER.size
    except OSError as error:
        raise DatasetError(f"{file}: expected a readable file, got {error.strerror}") from error
    return spans


def read_record(file: Path, span: Span, where: str) -> bytes:
    """The data of one record.

    Raises:
        DatasetError: they do not fit their checksum; `where` names the record.
    """
    try:
        with file.open("rb") as handle:
            handle.seek(span.offset)
            data = handle.read(span.size)
            footer = handle.read(_FOOTER.size)
    except OSError as error:
        raise DatasetError(f"{where}: expected a readable file, got {error.strerror}") from error
    if len(footer) < _FOOTER.size or _FOOTER.unpack(footer)[0] != masked_crc32c(data):
        raise DatasetError(f"{where}: expected data that fit their checksum, got damaged ones")
    return data


def masked_crc32c(data: bytes) -> int:
    """The checksum as TFRecord stores it: rotated, and with a constant added, so that it can itself be summed."""
    checksum = crc32c.crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
