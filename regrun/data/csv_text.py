"""The text of a CSV file: checked line by line before pandas guesses its types.

pandas alone would fill short lines with missing values, take a surplus column for an index and
rename duplicate columns, all silently.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regrun.errors import CorruptInputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """A CSV file in memory. Row i of ``frame`` begins on line ``lines[i]`` of the file."""

    path: Path
    frame: pd.DataFrame
    lines: list[int]

    def place(self, row: int) -> str:
        """``flats.csv:17``."""
        return f"{self.path}:{self.lines[row]}"


def read_table(path: Path, separator: str) -> Table:
    """Reads a file with a header line, in UTF-8.

    Raises CorruptInputError, with the line, for a file that is empty, not UTF-8, ragged, badly
    quoted, or names two columns alike.
    """
    import pandas as pd

    text = _decoded(path)
    header, lines = _checked(path, text, separator)
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


def _decoded(path: Path) -> str:
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


def _checked(path: Path, text: str, separator: str) -> tuple[list[str], list[int]]:
    """The column names, and the line on which each row begins."""
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
