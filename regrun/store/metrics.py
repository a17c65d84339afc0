"""``metrics.jsonl``: a line of JSON per evaluation.

A line counts once its newline is there; a torn last line, left by a kill, is dropped when
reading. Numbers that are not finite are null; the summary says whether a run diverged. Each line
ends with a checksum of the file up to there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from regrun.errors import CorruptInputError
from regrun.results import json_line
from regrun.store.atomic import append, read_bytes, write_atomic
from regrun.store.checksums import KEY, check_lines, checksum_of, sealed_lines
from regrun.store.place import Place, as_file

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]
"""``{"epoch": 1, "step": 4, "train/loss": 0.5, …}``; None where the number was not finite."""


class MetricsWriter:
    """Collects rows and appends them to the file in one write per flush."""

    def __init__(self, file: Path | Place, written: bytes = b"") -> None:
        """written: what the file holds, of an earlier writer."""
        self._place = as_file(file)
        self._length, self.checksum = len(written), checksum_of(written)
        self._rows: list[Mapping[str, Any]] = []

    def add(self, *rows: Mapping[str, Any]) -> None:
        """Add rows; they are in the file after the next `flush`."""
        self._rows += rows

    def flush(self) -> None:
        """Append all added rows. Raises `StorageError`, after which a retry is possible."""
        if self._rows:
            data, checksum = sealed_lines(map(json_line, self._rows), self.checksum)
            append(self._place, data, self._length)
            self._length += len(data)
            self.checksum = checksum
            self._rows.clear()


def read_metrics(file: Path | Place) -> list[Row]:
    """All rows in order; empty when there is no file.

    Raises `CorruptInputError` with file and line.
    """
    place = as_file(file)
    return parse_metrics(place, _read(place))


def parse_metrics(place: Place, data: bytes) -> list[Row]:
    """The rows of the content of a file. Raises `CorruptInputError` with file and line."""
    return _parse(place, _lines(data))


def truncate_after(file: Path | Place, step: int) -> tuple[list[Row], bytes]:
    """Drop the rows after ``step`` and a torn last line; return what remains, and its bytes.

    Raises `CorruptInputError`, `StorageError`.
    """
    place = as_file(file)
    data = _read(place)
    lines = _lines(data)
    rows = _parse(place, lines)
    kept = sum(row["step"] <= step for row in rows)
    remaining = b"".join(line + b"\n" for line in lines[:kept])
    if remaining != data:
        write_atomic(place, remaining)
    return rows[:kept], remaining


def metrics_frame(rows: Sequence[Row]) -> DataFrame:
    """A DataFrame with a row per evaluation and a column per metric."""
    import pandas

    return pandas.DataFrame(list(rows))


def _read(place: Place) -> bytes:
    try:
        return read_bytes(place)
    except FileNotFoundError:
        return b""


def _lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")[:-1]


def _parse(place: Place, lines: list[bytes]) -> list[Row]:
    check_lines(place, lines)
    try:
        rows = orjson.loads(b"[" + b",".join(lines) + b"]")  # far faster than a call per line
    except orjson.JSONDecodeError:
        rows = []
    if len(rows) != len(lines):
        rows = [_parse_line(place, number, line) for number, line in enumerate(lines, 1)]
    before = -1
    for number, row in enumerate(rows, 1):
        problem = _problem_with(row, before)
        if problem:
            raise CorruptInputError(f"{place}:{number}: not an evaluation: {problem}")
        before = row["step"]
    return rows  # type: ignore[no-any-return]


def _parse_line(place: Place, number: int, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CorruptInputError(f"{place}:{number}: not a line of JSON: {error}") from error


def _problem_with(row: Any, before: int) -> str | None:
    """What is wrong with a line, whose checksum is dropped. before: the step of the line before."""
    if not isinstance(row, dict):
        return "not a mapping"
    row.pop(KEY, None)
    for key in ("epoch", "step"):
        if type(row.get(key)) is not int or row[key] < 0:
            return f"it has no {key} from 0 on"
    if row["step"] <= before:
        return f"step {row['step']:,} after step {before:,}"
    for key, value in row.items():
        if type(value) not in (int, float, type(None)):
            return f"{key} is no number"
    return None
