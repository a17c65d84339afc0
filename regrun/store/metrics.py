"""``metrics.jsonl``: a line of JSON per evaluation; the summary says whether a run diverged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrun.errors import CorruptInputError
from regrun.store.lines import keep_lines, parse_lines, read_lines, whole_lines
from regrun.store.place import Place, as_file

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]
"""``{"epoch": 1, "step": 4, "train/loss": 0.5, …}``; None where the number was not finite."""


def read_metrics(file: Path | Place) -> list[Row]:
    """All rows in order; empty when there is no file.

    Raises `CorruptInputError` with file and line.
    """
    place = as_file(file)
    return parse_metrics(place, read_lines(place))


def parse_metrics(place: Place, data: bytes) -> list[Row]:
    """The rows of the content of a file. Raises `CorruptInputError` with file and line."""
    rows = parse_lines(place, whole_lines(data))
    before = -1
    for number, row in enumerate(rows, 1):
        problem = _problem_with(row, before)
        if problem:
            raise CorruptInputError(f"{place}:{number}: not an evaluation: {problem}")
        before = row["step"]
    return rows


def truncate_after(file: Path | Place, step: int) -> tuple[list[Row], bytes]:
    """Drop the rows after ``step`` and a torn last line; return what remains, and its bytes.

    Raises `CorruptInputError`, `StorageError`.
    """
    place = as_file(file)
    data = read_lines(place)
    rows = parse_metrics(place, data)
    kept = sum(row["step"] <= step for row in rows)
    return rows[:kept], keep_lines(place, data, kept)


def metrics_frame(rows: Sequence[Row]) -> DataFrame:
    """A DataFrame with a row per evaluation and a column per metric."""
    import pandas

    return pandas.DataFrame(list(rows))


def _problem_with(row: Any, before: int) -> str | None:
    """What is wrong with a line. before: the step of the line before."""
    if not isinstance(row, dict):
        return "not a mapping"
    for key in ("epoch", "step"):
        if type(row.get(key)) is not int or row[key] < 0:
            return f"it has no {key} from 0 on"
    if row["step"] <= before:
        return f"step {row['step']:,} after step {before:,}"
    for key, value in row.items():
        if type(value) not in (int, float, type(None)):
            return f"{key} is no number"
    return None
