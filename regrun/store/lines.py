"""Files of lines of JSON, which grow while a run is trained.

A line counts once its newline is there; a torn last line, left by a kill, is dropped when
reading. Numbers that are not finite are null. Each line ends with a checksum of the file up to
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from regrun.errors import CorruptInputError
from regrun.results import json_line
from regrun.store.atomic import append, read_bytes, write_atomic
from regrun.store.checksums import KEY, check_lines, checksum_of, sealed_lines
from regrun.store.place import Place, as_file


class LinesWriter:
    """Collects values and appends each as a line to the file, in one write per flush."""

    def __init__(self, file: Path | Place, written: bytes = b"") -> None:
        """written: what the file holds, of an earlier writer."""
        self._place = as_file(file)
        self._length, self.checksum = len(written), checksum_of(written)
        self._lines: list[bytes] = []

    def add(self, *values: Any) -> None:
        """Add what `json_line` takes; it is in the file after the next `flush`."""
        self._lines += map(json_line, values)

    def flush(self) -> None:
        """Append all that was added. Raises `StorageError`, after which a retry is possible."""
        if self._lines:
            data, checksum = sealed_lines(self._lines, self.checksum)
            append(self._place, data, self._length)
            self._length += len(data)
            self.checksum = checksum
            self._lines.clear()


def read_lines(place: Place) -> bytes:
    """The content of a file; empty where there is none."""
    try:
        return read_bytes(place)
    except FileNotFoundError:
        return b""


def whole_lines(data: bytes) -> list[bytes]:
    """The lines that are whole, without their newlines."""
    return data.split(b"\n")[:-1]


def parse_lines(place: Place, lines: Sequence[bytes], *, sealed: bool = False) -> list[Any]:
    """What the lines hold, without their checksums. sealed: all have one.

    Raises `CorruptInputError` with the line.
    """
    check_lines(place, lines, required=sealed)
    try:
        values = orjson.loads(b"[" + b",".join(lines) + b"]")  # far faster than a call per line
    except orjson.JSONDecodeError:
        values = []
    if len(values) != len(lines):
        values = [_parse_line(place, number, line) for number, line in enumerate(lines, 1)]
    for value in values:
        if isinstance(value, dict):
            value.pop(KEY, None)
    return values  # type: ignore[no-any-return]


def keep_lines(place: Place, data: bytes, count: int) -> bytes:
    """Cut a file with this content to its first lines; returns what it then holds.

    Raises `StorageError`.
    """
    remaining = b"".join(line + b"\n" for line in whole_lines(data)[:count])
    if remaining != data:
        write_atomic(place, remaining)
    return remaining


def _parse_line(place: Place, number: int, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CorruptInputError(f"{place}:{number}: not a line of JSON: {error}") from error
