"""How large data files are once they are unpacked, as far as that is seen without reading them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Protocol

from rich.filesize import decimal

from regrun.errors import DataTooLargeError
from regrun.memory import free_bytes
from regrun.regular_files import check_file

TABLE_FACTOR = 4
"""How many times its own size a table takes, at least: as it is, as numbers, and those encoded and
standardized. Numbers of one digit take 25 times their text, words 40 times."""

_PIECE = 1 << 24


def unpacked_bytes(path: Path) -> int | None:
    """The length of a table's text, or of its numbers; None where reading says what is wrong.

    A text that is compressed as one stream counts as it is: its length is not known.
    """
    try:
        check_file(path)
        with path.open("rb") as file:
            begin = file.read(4)
        if begin == b"PAR1":
            return _parquet_bytes(path)
        if begin == b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                return sum(member.file_size for member in archive.infolist())
        return path.stat().st_size
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None


def _parquet_bytes(path: Path) -> int | None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        found = parquet.read_metadata(path)
    except (pa.ArrowException, OSError):
        return None
    return int(found.num_rows) * int(found.num_columns) * 8


def check_fits(path: Path) -> None:
    """Raise DataTooLargeError, naming the file, for a table that is larger than the memory."""
    size, free = unpacked_bytes(path), free_bytes()
    if size is not None and size > free:
        raise DataTooLargeError(
            f"{path}: {decimal(size)}, and {decimal(free)} of memory are free; give fewer rows or "
            "columns"
        )


class Stream(Protocol):
    """What is asked of a compressed file."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class Unpacking(io.RawIOBase):
    """A compressed stream, as much of it as could be a table in memory."""

    def __init__(self, stream: Stream, path: Path) -> None:
        """path: for the message."""
        self._stream, self._path = stream, path
        self._most = self._left = free_bytes() // TABLE_FACTOR

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Raises DataTooLargeError where the whole has become too long."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        piece = self._stream.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise DataTooLargeError(
                f"{self._path}: unpacks to more than {decimal(self._most)}, and a table takes "
                f"{TABLE_FACTOR} times as much memory; unpack it, or give fewer rows or columns"
            )
        return piece

    def close(self) -> None:
        self._stream.close()
        super().close()
