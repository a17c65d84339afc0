"""Delimited text (.csv, .tsv, .data) as tables, strict about the number of cells in each row.

pyarrow reads block by block; the `csv` module of the standard library finds the header, names the
lines of errors, checks quotes, and reads what pyarrow cannot (comments, blanks before quotes).
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from regrun.data.preprocessing import TableFormat
from regrun.data.table import (
    EXACT,
    WORDS,
    Column,
    Numbers,
    Table,
    Texts,
    column_of,
    has_fractions,
    number_pattern,
    parse_numbers,
    stripped,
    without_markers,
)
from regrun.errors import ConfigError, CorruptInputError

MOST_COLUMNS = 20_000
"""More are no table of features that a model could be trained on here."""

_LONGEST_LINE = 1 << 24
_BLOCK = 1 << 20
_GLANCE = 1 << 18
"""Bytes that are looked at at once: few enough for the cache of a processor."""

_Read = tuple[dict[int, Numbers], dict[int, list[Texts]]]
"""Columns by position: numbers, and texts block by block."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, and the encodings that they stand for; UTF-32 begins as UTF-16 does."""


def read_delimited(path: Path, open_bytes: Callable[[], BinaryIO], layout: TableFormat) -> Table:
    """Read a file of delimited text. open_bytes: gives its bytes, decompressed.

    Raises CorruptInputError, with the line, for a file that is empty, not in its encoding, ragged,
    badly quoted, or has two columns of one name; ConfigError at a key that must change.
    """
    separator = layout.separator or ("\t" if ".tsv" in path.suffixes else ",")
    layout = layout.model_copy(update={"separator": separator})
    return _File(path, open_bytes, layout).read()


@dataclass
class _File:
    path: Path
    open_bytes: Callable[[], BinaryIO]
    format: TableFormat
    names: list[str] = field(default_factory=list)
    """What the header calls the columns, stripped; empty where it calls them nothing."""
    width: int = 0
    """The number of cells of each row."""
    header_line: int | None = None
    begin: int = 1
    """The line of the first row."""
    skipped: int = 0
    """Rows between the header and the examples: 1 where there is a line of units."""
    header_is_odd: bool = False
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _data: bytes | None = None
    _first_byte: int | None = None

    def read(self) -> Table:
        self._find_header()
        columns = self._read_columns()
        table = self._table(columns)
        self._data = None
        return table

    # --- columns ------------------------------------------------------------------------------

    def _table(self, columns: list[Column]) -> Table:
        columns = self._without_units(columns)
        positions, names, index = self._named(columns)
        named = {}
        for position, name in zip(positions, names, strict=True):
            nameless = position < len(self.names) and not self.names[position] and name not in index
            fault = f"{self.path}:{self.header_line}: column {position + 1} has no name"
            named[name] = replace(columns[position], name=name, fault=fault if nameless else "")
        where = dict(zip(names, positions, strict=True))
        return Table(
            str(self.path),
            named,
            len(columns[0]),
            self._place,
            self.format,
            reread=lambda name: self._texts(where[name])[self.skipped :],
            header_is_odd=self.header_is_odd,
            index=index,
            notes=tuple(self.notes),
            skipped=tuple(self.left_out),
        )

    def _place(self, row: int) -> str:
        before = row + self.skipped + (self.header_line is not None)
        return f"{self.path}:{next(islice(self._rows(), before, None))[0]}"

    def _named(self, columns: list[Column]) -> tuple[list[int], list[str], tuple[str, ...]]:
        """The positions of the columns to keep, their names, and which are indices."""
        names, kept = [*self.names], list(range(self.width))
        longer = self.width > len(names)
        if self.width > 1 and (longer or not names[-1]) and columns[-1].is_empty:
            kept.pop()
            names = names[: len(kept)]
            self.notes.append("every line ends with a separator: the empty last column is left out")
        elif longer:  # as R writes the names of rows
            if not columns[0].is_unique:
                raise self._ragged(self.begin, self.width, len(names))
            names.insert(0, "")
            self.names = names
        nameless = f"column {names.index('') + 1}" if "" in names else ""
        names = [name or f"column {position + 1}" for position, name in enumerate(names)]
        if len({*names}) < len(names):
            raise CorruptInputError(
                f"{self.path}:{self.header_line}: a column has no name, and another has that by "
                f"which it is called here, {nameless}"
            )
        index = []
        if self.header_line is not None and len(names) > 1:
            index = [name for name in names[:1] if name == nameless]
            # pandas names a column so that had no name when it wrote and read it again.
            index += [
                name
                for name, position in zip(names, kept, strict=True)
                if re.fullmatch(r"Unnamed: \d+", name) and columns[position].is_unique
            ]
        return kept, names, tuple(index)

    def _without_units(self, columns: list[Column]) -> list[Column]:
        """Leave out a first row that says the units of the numbers below it."""
        if len(columns[0]) < 3:
            return columns
        below = {}
        for position, column in enumerate(columns):
            if column.numbers is not None:
                if not np.isnan(column.numbers[0]):
                    return columns
            elif not column.is_empty:
                found = parse_numbers(column.texts[1:], self.format)
                if found is not None and column.texts[0].is_valid:
                    below[position] = found
        row = [columns[position].texts[0].as_py() for position in below]
        others = sum(not column.is_empty for column in columns) - len(below)
        if not any(re.search(r"[^\W\d_]|[%°$€]", text) for text in row) or (
            len(below) == 1 and others
        ):
            return columns
        shown = ", ".join(f'"{text}"' for text in row[:5]) + (", …" if len(row) > 5 else "")
        self.notes.append(
            f"{self._place(0)}: {shown} are taken for the units of the numbers below, and the line "
            "is left out (dataset.missing_values with these texts keeps it, as missing cells)"
        )
        self.left_out.append(f"{self._place(0)}: a line of units")
        self.skipped = 1
        rest = []
        for position, column in enumerate(columns):
            if position in below:
                rest.append(column_of(column.name, column.texts[1:], self.format))
            else:
                rest.append(column.without_first())
        return rest

    # --- text ---------------------------------------------------------------------------------

    def _bytes(self) -> bytes:
        """The file in UTF-8, without a byte order mark."""
        if self._data is None:
            self._data = self._load()
        return self._data

    def _load(self) -> bytes:
        with self.open_bytes() as stream:
            data = stream.read(_LONGEST_LINE)
        if len(data) == _LONGEST_LINE and not re.search(rb"[\r\n]", data):
            raise CorruptInputError(
                f"{self.path}:1: is longer than {_LONGEST_LINE // 2**20} MiB; this is no table"
            )
        self._check_width(data)
        if len(data) == _LONGEST_LINE:
            with self.open_bytes() as stream:  # in one piece, which needs no second copy
                data = stream.read()
        mark, marked = next(
            ((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8")
        )
        encoding = self.format.encoding or marked
        try:
            is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")
            "".encode(encoding)
        except LookupError as error:
            raise ConfigError.at(
                "dataset.encoding",
                f'"{encoding}": unknown encoding; such as utf-8, latin-1, cp1252',
            ) from error
        if is_utf8:
            return data[len(mark) :] if marked == "utf-8" and mark else data
        try:
            text = data.decode(encoding)
        except UnicodeError as error:
            at = min(getattr(error, "start", 0), len(data) - 1)
            raise CorruptInputError(
                f"{self.path}: byte {data[at]:#04x} at {at} is not {encoding}"
            ) from error
        return text.removeprefix("\ufeff").encode("utf-8", "surrogatepass")

    def _check_width(self, begin: bytes) -> None:
        """Refuse far too many columns before the whole file is read."""
        separator = str(self.format.separator).encode()
        line = re.match(rb"[\r\n]*([^\r\n]*)", begin)
        columns = line[1].count(separator) + 1 if line else 0
        if columns > MOST_COLUMNS and separator != b" ":
            raise CorruptInputError(
                f"{self.path}:1: {columns:,} columns; a table has at most {MOST_COLUMNS:,}"
            )

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows that are not empty, each with the line on which it begins."""
        at_begin = True
        comment, blank = self.format.comment, self.format.separator == " "

        def lines(text: io.TextIOWrapper) -> Iterator[str]:
            nonlocal at_begin
            for number, line in enumerate(text, 1):
                is_comment = at_begin and comment and line.lstrip().startswith(comment)
                if number <= self.format.skip_rows or is_comment:
                    yield "\n"
                else:
                    if "\0" in line:
                        raise self._nul()
                    at_begin = False
                    yield re.sub(r"[ \t]+", " ", line.strip()) + "\n" if blank else line

        with io.TextIOWrapper(io.BytesIO(self._bytes()), "utf-8", newline="") as text:
            reader = csv.reader(
                lines(text),
                delimiter=str(self.format.separator),
                skipinitialspace=not blank,
                strict=True,
            )
            begin = 1
            try:
                for cells in reader:
                    if cells:
                        yield begin, cells
                    begin, at_begin = reader.line_num + 1, True
            except csv.Error as error:
                raise CorruptInputError(f"{self.path}:{begin}: {error}") from error
            except UnicodeDecodeError as error:
                raise self._undecodable() from error

    def _undecodable(self) -> CorruptInputError:
        data = self._bytes()
        if b"\0" in data:
            return self._nul()
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            begin = data.rfind(b"\n", 0, error.start) + 1
            cell = re.split(rb"[\r\n,;\t]", data[begin : error.start])[-1]
            rest = re.split(rb"[\r\n,;\t]", data[error.start : error.start + 40])[0]
            shown = (cell[-40:] + rest).decode("cp1252", "replace")
            return CorruptInputError(
                f"{self.path}:{line}: byte {data[error.start]:#04x} at {error.start} is not UTF-8; "
                f'dataset.encoding names another encoding: in cp1252 (Latin-1) it is "{shown}"'
            )
        return CorruptInputError(f"{self.path}: is not UTF-8")

    # --- header -------------------------------------------------------------------------------

    def _find_header(self) -> None:
        """Set the names, the width and the lines of header and first row."""
        first = list(islice(self._rows(), 2))
        if not first:
            raise CorruptInputError(f"{self.path}: is empty")
        line, cells = first[0]
        if not self.format.header:
            self.begin, self.width = line, len(cells)
            self.names = [str(i) for i in range(self.width)]
            return
        if len(first) == 1:
            raise CorruptInputError(f"{self.path}: has a header but no rows")
        self.header_line, self.names = line, [cell.strip() for cell in cells]
        self.begin, row = first[1]
        self.width = len(row)
        if self.width - len(self.names) not in (0, 1):
            raise self._ragged(self.begin, self.width, len(self.names))
        self._check_names(line)

    def _nul(self) -> CorruptInputError:
        data = self._bytes()
        at = data.index(b"\0")
        line = data.count(b"\n", 0, at) + 1
        half = data[:4096].count(b"\0") > len(data[:4096]) // 4
        hint = "; is it UTF-16? encoding: utf-16-le" if half else "; this is no text file"
        return CorruptInputError(f"{self.path}:{line}: a NUL character{hint}")

    def _check_names(self, line: int) -> None:
        number = re.compile(number_pattern(self.format))
        numbers = [name for name in self.names if number.fullmatch(name)]
        for position, name in enumerate(self.names):
            if name and name in self.names[:position]:
                hint = f"; header: none reads line {line} as a row" if numbers else ""
                raise CorruptInputError(f'{self.path}:{line}: two columns are named "{name}"{hint}')
        start = int(numbers[0]) if numbers and numbers[0].isdecimal() else 0
        if numbers != [str(start + i) for i in range(len(numbers))]:
            self.header_is_odd = True
            shown = ", ".join(numbers[:3]) + (", …" if len(numbers) > 3 else "")
            self.notes.append(
                f"{self.path}:{line}: some names of columns are numbers ({shown}); if this line is "
                "a row of values, header: none reads it as one"
            )

    def _ragged(self, line: int, found: int, expected: int) -> CorruptInputError | ConfigError:
        """What is wrong with a line of another number of cells."""
        first = next(self._rows())
        text = io.TextIOWrapper(io.BytesIO(self._bytes()), "utf-8", newline="")
        raw = "".join(islice(text, first[0] - 1, first[0]))
        message = f"{self.path}:{line}: {found} cells; the header has {expected}"
        mark = raw.lstrip()[:1]
        if self.format.comment is None and mark in ("#", "%", "!"):
            return ConfigError.at(
                "dataset.comment",
                f'{message}. The header would be line {first[0]}, "{raw.strip()[:40]}"; '
                f'comment: "{mark}" skips such lines',
            )
        if raw.startswith("sep="):
            return CorruptInputError(
                f"{message}; line 1 names the separator to Excel: skip_rows: 1 leaves it out"
            )
        if not self.format.header:
            message = f"{self.path}:{line}: {found} cells; the first row has {expected}"
        for other in (";", "\t", "|"):
            if other != self.format.separator and raw.count(other) >= max(expected, 1):
                return CorruptInputError(f"{message}; is {other!r} the separator?")
        if expected == 1 and self.format.header and line > first[0]:
            message += (
                f'. The header would be line {first[0]}, "{raw.strip()[:40]}"; skip_rows skips '
                "lines above the header"
            )
        return CorruptInputError(message)

    # --- rows ---------------------------------------------------------------------------------

    def _read_columns(self) -> list[Column]:
        if b"\0" in self._bytes():
            raise self._nul()
        blocks = self._blocks()
        if blocks is None:
            return self._columns_by_hand()
        try:
            return self._columns_by_arrow(blocks)
        except pa.ArrowInvalid:
            return self._columns_by_hand()

    def _blocks(self) -> list[pa.Buffer] | None:
        """Pieces that pyarrow may read alone; None where it would read something else."""
        data = self._bytes()
        separator = str(self.format.separator).encode()
        if separator == b" " or len(separator) > 1:
            return None
        if self.format.comment:
            comment = re.escape(self.format.comment.encode())
            if re.compile(rb"[\r\n][ \t]*" + comment).search(data, self._start()):
                return None
        spans_lines = False
        if b'"' in data:
            plain, spans_lines = _quotes(data, self._start(), separator[0])
            if not plain:
                return None
        buffer, cuts = pa.py_buffer(data), [self._start()]
        while cuts[-1] < len(data):
            cut = 0 if spans_lines else data.rfind(b"\n", cuts[-1], cuts[-1] + _BLOCK) + 1
            cuts.append(cut or len(data))
        return [buffer.slice(begin, end - begin) for begin, end in pairwise(cuts)]

    def _start(self) -> int:
        """The position of the first row."""
        if self._first_byte is None:
            lines = re.finditer(rb"\r\n|\r|\n", self._bytes())
            ends = [0, *(found.end() for found in islice(lines, self.begin - 1))]
            self._first_byte = ends[-1]
        return self._first_byte

    def _columns_by_hand(self) -> list[Column]:
        rows = self._checked_rows()
        pieces: list[list[Texts]] = [[] for _ in range(self.width)]
        while block := list(islice(rows, 4096)):
            for piece, cells in zip(pieces, zip(*block, strict=True), strict=True):
                piece.append(pa.array(cells, pa.string()))
        return [
            column_of(str(i), pa.concat_arrays(piece), self.format)
            for i, piece in enumerate(pieces)
        ]

    def _columns_by_arrow(self, blocks: Sequence[pa.Buffer]) -> list[Column]:
        """Read numbers as numbers, and only what else matters as text, too."""
        zeros = self._some_cell_begins_with_zero()
        numeric = {
            i
            for i, cells in enumerate(zip(*islice(self._checked_rows(), 200), strict=True))
            if self._is_plain(pa.array(cells, pa.string()), zeros)
        }
        found, texts = self._read_numbers(blocks, numeric)
        columns = {i: column_of(str(i), pa.concat_arrays(texts[i]), self.format) for i in texts}
        again = []
        for i, read in found.items():
            numbers = without_markers(read, self.format)
            columns[i] = Column(str(i), numbers, None)
            whole = zeros and not has_fractions(numbers)
            if whole or not -EXACT < numbers.min() <= numbers.max() < EXACT:  # nor for NaN
                again.append(i)
        if again:
            _, texts = self._arrow(blocks, (), again)
            for i, cells in texts.items():
                columns[i] = column_of(str(i), pa.concat_arrays(cells), self.format)
        return [columns[i] for i in range(self.width)]

    def _is_plain(self, cells: Texts, zeros: bool) -> bool:
        """Whether a column that begins with these cells may well be numbers that need no text."""
        found = None if self.format.thousands else parse_numbers(cells, self.format)
        if found is None or np.isnan(found[0]).any():
            return False
        return not zeros or has_fractions(found[0])

    def _some_cell_begins_with_zero(self) -> bool:
        """Whether a cell may begin with 0 and another digit. May be true for none."""
        separator = ord(str(self.format.separator)[0])
        data = np.frombuffer(self._bytes(), np.uint8)
        for begin in range(max(0, self._start() - 1), len(data), _GLANCE):
            first, second, third = (data[begin + i : begin + i + _GLANCE] for i in range(3))
            size = len(third)
            ends = (first[:size] <= ord('"')) | (first[:size] == separator)
            if (ends & (second[:size] == ord("0")) & (third - ord("0") < 10)).any():
                return True
        return self._bytes().startswith(b"0")

    def _read_numbers(self, blocks: Sequence[pa.Buffer], numeric: set[int]) -> _Read:
        """Read all columns, these as numbers; take out of ``numeric`` those that are none."""
        everything = range(self.width)
        for _ in range(3):
            try:
                return self._arrow(blocks, numeric, everything)
            except pa.ArrowInvalid as error:
                failed = re.match(r"In CSV column #(\d+): .*conversion error to double", str(error))
                if failed is None:
                    for _ in self._checked_rows():  # a ragged line is the most likely cause
                        pass
                    raise
                numeric.discard(int(failed[1]))
        numeric.clear()
        return self._arrow(blocks, numeric, everything)

    def _arrow(
        self, blocks: Sequence[pa.Buffer], numeric: Collection[int], wanted: Sequence[int]
    ) -> _Read:
        """The numbers of columns, and the texts of the others of those that are wanted."""
        names = [str(i) for i in range(self.width)]
        types = {str(i): pa.float64() if i in numeric else pa.string() for i in wanted}
        parse = arrow_csv.ParseOptions(
            delimiter=self.format.separator, newlines_in_values=b'"' in self._bytes()
        )
        convert = arrow_csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=["", *WORDS, *self.format.missing_values],
            strings_can_be_null=False,
            quoted_strings_can_be_null=True,
            decimal_point=self.format.decimal,
        )

        def read(block: pa.Buffer) -> pa.Table:
            # With its own threads, pyarrow may abort the process at its end if torch was imported.
            options = arrow_csv.ReadOptions(
                column_names=names, use_threads=False, block_size=max(block.size, 1)
            )
            return arrow_csv.read_csv(pa.BufferReader(block), options, parse, convert)

        # At least as many as there are rows; memory that is not written to costs nothing.
        data, start = self._bytes(), self._start()
        most = data.count(b"\n", start) + data.count(b"\r", start) + 1
        numbers = {i: np.empty(most) for i in wanted if i in numeric}
        texts: dict[int, list[Texts]] = {i: [] for i in wanted if i not in numeric}
        rows = 0
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for table in pool.map(read, blocks):
                for position, i in enumerate(wanted):
                    cells = table.column(position)
                    if i in numbers:
                        numbers[i][rows : rows + len(cells)] = cells.to_numpy()
                    else:
                        texts[i] += cells.chunks
                rows += len(table)
        return {i: values[:rows] for i, values in numbers.items()}, texts

    def _texts(self, position: int) -> Texts:
        """Read a column once more, as text."""
        blocks = self._blocks()
        if blocks is None:
            cells = pa.array([row[position] for row in self._checked_rows()], pa.string())
        else:
            _, texts = self._arrow(blocks, (), [position])
            cells = pa.concat_arrays(texts[position])
        self._data = None
        return stripped(cells, self.format)

    def _checked_rows(self) -> Iterator[list[str]]:
        """The rows below the header, all of one width."""
        return (cells for _, cells in self._numbered_rows())

    def _numbered_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Likewise, each with the line on which it begins."""
        rows = self._rows()
        if self.header_line is not None:
            next(rows)
        for line, cells in rows:
            if len(cells) != self.width:
                raise self._ragged(line, len(cells), min(self.width, len(self.names)))
            yield line, cells


def _quotes(data: bytes, start: int, separator: int) -> tuple[bool, bool]:
    """Whether each quote opens or ends a cell, or is doubled inside one; whether cells hold lines.

    Then pyarrow reads what the `csv` module reads, which is strict about quotes.
    """
    cells = np.frombuffer(data, np.uint8)
    around = np.zeros(256, bool)
    around[[separator, ord("\n"), ord("\r"), ord('"')]] = True
    count, spans_lines, last = 0, False, len(cells) - 1
    for begin in range(start, len(cells), _GLANCE):
        glance = cells[begin : begin + _GLANCE]
        quotes = np.flatnonzero(glance == ord('"')) + begin
        opening, closing = (quotes[(count + i) % 2 :: 2] for i in range(2))
        inner = opening[opening > start]
        ends = closing[closing < last]
        if not (around[cells[inner - 1]].all() and around[cells[ends + 1]].all()):
            return False, True
        if not spans_lines:
            lines = np.flatnonzero((glance == ord("\n")) | (glance == ord("\r"))) + begin
            spans_lines = bool(((np.searchsorted(quotes, lines) + count) % 2 == 1).any())
        count += len(quotes)
    return count % 2 == 0, spans_lines
