"""``metrics.jsonl``: a line of JSON per evaluation.

A line counts once its newline is there; a torn last line, left by a kill, is dropped when
reading. Numbers that are not finite are null; the summary says whether a run diverged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrun.errors import CorruptInputError
from regrun.results import json_line
from regrun.store.atomic import append, read_bytes, write_atomic

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]
"""``{"epoch": 1, "step": 4, "train/loss": 0.5, …}``; None where the number was not finite."""


class MetricsWriter:
    """Collects rows and appends them to the file in one write per flush."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Mapping[str, Any]] = []

    def add(self, *rows: Mapping[str, Any]) -> None:
        """Add rows; they are in the file after the next `flush`."""
        self._rows += rows

    def flush(self) -> None:
        """Append all added rows. Raises `StorageError`, after which a retry is possible."""
        if self._rows:
            append(self._path, b"".join(map(json_line, self._rows)))
            self._rows.clear()


def read_metrics(path: Path) -> list[Row]:
    """All rows in order; empty when there is no file.

    Raises `CorruptInputError` with file and line.
    """
    return _parse(path, _lines(_read(path)))


def truncate_after(path: Path, step: int) -> list[Row]:
    """Drop the rows after ``step`` and a torn last line; return the remaining rows.

    Raises `CorruptInputError`, `StorageError`.
    """
    data = _read(path)
    lines = _lines(data)
    rows = _parse(path, lines)
    kept = [index for index, row in enumerate(rows) if row["step"] <= step]
    remaining = b"".join(lines[index] + b"\n" for index in kept)
    if remaining != data:
        write_atomic(path, remaining)
    return [rows[index] for index in kept]


def metrics_frame(rows: Sequence[Row]) -> DataFrame:
    """A DataFrame with a row per evaluation and a column per metric."""
    import pandas

    return pandas.DataFrame(list(rows))


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError:
        return b""


def _lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")[:-1]


def _parse(path: Path, lines: list[bytes]) -> list[Row]:
    try:
        rows = json.loads(b"[" + b",".join(lines) + b"]")  # far faster than a call per line
    except (ValueError, RecursionError):
        rows = []
    if len(rows) == len(lines) and all(_is_row(row) for row in rows):
        return rows  # type: ignore[no-any-return]
    return [_parse_line(path, number, line) for number, line in enumerate(lines, 1)]


def _parse_line(path: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorruptInputError(f"{path}:{number}: not a line of JSON: {error}") from error
    if not _is_row(row):
        raise CorruptInputError(f"{path}:{number}: not an evaluation: it has no integer step")
    return row  # type: ignore[no-any-return]


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and type(row.get("step")) is int
