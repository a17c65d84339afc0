"""CSV files as tables, and the targets in one of their columns.

Every line is checked before pandas infers the types of columns: pandas alone would fill short lines
with missing values, take a surplus column for an index and rename duplicate columns, all silently.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regrun.data.targets import Array, as_labels, class_indices
from regrun.errors import ConfigError, CorruptInputError

if TYPE_CHECKING:
    import pandas as pd

    from regrun.kinds.datasets.base import Task

FEW_CLASSES = 20
"""A target of at most this many distinct integers is taken for classes."""


@dataclass(frozen=True)
class Table:
    """A table in memory. Row i of ``frame`` begins on line ``lines[i]`` of the file."""

    path: Path
    frame: pd.DataFrame
    lines: list[int]

    def place(self, row: int) -> str:
        """Return ``flats.csv:17``."""
        return f"{self.path}:{self.lines[row]}"

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column as float64, NaN where it is empty or not a number."""
        import pandas as pd

        numbers = pd.to_numeric(self.frame[column], errors="coerce")
        return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))

    def is_numeric(self, column: str) -> bool:
        """Whether all filled cells of a column are numbers; booleans are not."""
        from pandas.api.types import is_bool_dtype, is_numeric_dtype

        values = self.frame[column]
        return is_numeric_dtype(values) and not is_bool_dtype(values)

    def check_finite(self, column: str) -> None:
        """Raise CorruptInputError where a number of a column is infinite."""
        infinite = np.flatnonzero(np.isinf(self.numbers(column)))
        if len(infinite):
            raise CorruptInputError(f'{self.place(infinite[0])}: column "{column}" is infinite')


def read_csv(path: Path, separator: str) -> Table:
    """Read a file in UTF-8 that begins with a header line.

    Raises CorruptInputError, with the line, for a file that is empty, not UTF-8, ragged, badly
    quoted, or has two columns of one name.
    """
    import pandas as pd

    text = _decode(path)
    header, lines = _check(path, text, separator)
    frame = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        header=0,
        names=header,
        index_col=False,
        skipinitialspace=True,
        low_memory=False,
    )
    return Table(path, frame, lines)


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptInputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorruptInputError(
            f"{path}:{line}: byte {data[error.start]:#04x} at {error.start} is not UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CorruptInputError(f"{path}:{line}: a NUL character; this is no text file")
    # One kind of line end: the csv module and pandas disagree about a lone carriage return.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check(path: Path, text: str, separator: str) -> tuple[list[str], list[int]]:
    """Return the column names, and the line on which each row begins."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    header: list[str] = []
    lines: list[int] = []
    begin = 1
    try:
        for cells in reader:
            if cells and not header:
                header = _header(path, begin, cells)
            elif cells:
                if len(cells) != len(header):
                    raise CorruptInputError(
                        f"{path}:{begin}: {len(cells)} cells; the header has {len(header)}"
                    )
                lines.append(begin)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise CorruptInputError(f"{path}:{begin}: {error}") from error
    if not header:
        raise CorruptInputError(f"{path}: is empty")
    if not lines:
        raise CorruptInputError(f"{path}: has a header but no rows")
    return header, lines


def _header(path: Path, line: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for position, name in enumerate(names):
        if not name:
            raise CorruptInputError(f"{path}:{line}: column {position + 1} has no name")
        if name in names[:position]:
            raise CorruptInputError(f'{path}:{line}: two columns are named "{name}"')
    return names


def table_targets(
    tables: list[Table], column: str, task: Task | None
) -> tuple[Task, list[Array], tuple[str, ...]]:
    """Read the target column of a table and of its test table, where there is one.

    task: None to infer it from the column. Returns the task, the targets of each table, (N,) int64
    or (N, 1) float64, and the names of the classes. Raises ConfigError for targets that do not suit
    the task, CorruptInputError for those that suit none.
    """
    for table in tables:
        empty = np.flatnonzero(table.frame[column].isna())
        if len(empty):
            raise CorruptInputError(
                f'{table.place(empty[0])}: the target "{column}" is empty; a row without a target '
                "cannot be used"
            )
    task = task or _inferred_task(tables[0], column)
    if task == "regression":
        return task, [_numbers(table, column) for table in tables], ()
    return task, *_classes(tables, column)


def _inferred_task(table: Table, column: str) -> Task:
    if not table.is_numeric(column):
        return "classification"
    values = table.frame[column]
    few = values.nunique() <= FEW_CLASSES and bool((values % 1 == 0).all())
    return "classification" if few else "regression"


def _numbers(table: Table, column: str) -> NDArray[np.float64]:
    values = table.numbers(column)
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        raise ConfigError.at(
            "dataset.task",
            f'regression: the target "{column}" is {table.frame[column].iloc[wrong[0]]!r} at '
            f"{table.place(wrong[0])}, not a number",
        )
    table.check_finite(column)
    return values[:, None].copy()  # pandas gives read-only memory, which torch refuses to share


def _classes(tables: list[Table], column: str) -> tuple[list[Array], tuple[str, ...]]:
    labels = [_labels(table, column) for table in tables]
    if len({each.dtype for each in labels}) > 1:
        labels = [each.astype(str) for each in labels]
    indices, names = class_indices(*labels)
    if len(names) < 2:
        raise ConfigError.at(
            "dataset.target",
            f'"{column}" is {names[0]} in every row; there must be two classes',
        )
    for table, found in zip(tables, indices, strict=True):
        unseen = np.flatnonzero(found < 0)
        if len(unseen):
            value = table.frame[column].iloc[unseen[0]]
            raise ConfigError.at(
                "dataset.test_path",
                f"{table.place(unseen[0])}: class {value!r} is not among those of {tables[0].path}",
            )
    return [*indices], names


def _labels(table: Table, column: str) -> Array:
    if not table.is_numeric(column):
        return table.frame[column].astype(str).to_numpy(dtype=str)
    table.check_finite(column)
    values = table.frame[column].to_numpy()
    return as_labels(
        values, lambda row: f'the target "{column}" is {values[row]} at {table.place(row)}'
    )
