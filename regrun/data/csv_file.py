"""CSV files, checked line by line before pandas infers the types of columns.

pandas alone would fill short lines with missing values, take a surplus column for an index and
rename duplicate columns, all silently.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from regrun.data.tables import Table
from regrun.errors import CorruptInputError


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
