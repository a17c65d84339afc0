"""Tables in memory: each column as numbers where all of its cells are, else as text.

What a column means (a category, a date, a code) is decided later, over all tables of a dataset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from regrun.data.preprocessing import TableFormat
from regrun.errors import CorruptInputError

if TYPE_CHECKING:
    import pandas as pd

Texts = Any
"""A pyarrow array of strings; null where a cell is missing."""

Numbers = NDArray[np.float64]

WORDS = frozenset({
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
"""What pandas takes for a missing cell; here only among numbers."""

TRUE, FALSE = ("true", "1"), ("false", "0")

EXACT = 2.0**53
"""From here on integers are not exact as numbers, as identifiers have to be."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column as it was read."""

    name: str
    numbers: NDArray[np.float64] | None
    """NaN where a cell is missing; None: some cell is not a number."""
    texts: Texts
    """Without blanks around them; None: `numbers` say it all, and `Table.texts` reads them."""
    codes: str | None = None
    """The first of the numbers that lose something as numbers: ``01``, or 2⁵³ + 1."""
    words: tuple[str, ...] = ()
    """Words among the numbers that were taken for missing cells."""
    stripped: int = 0
    """Texts that ended with blanks."""
    fault: str = ""
    """Why it can be nothing but ignored."""

    def __len__(self) -> int:
        return len(self.texts) if self.numbers is None else len(self.numbers)

    @property
    def is_empty(self) -> bool:
        """Whether all cells are missing."""
        return self.numbers is None and self.texts.null_count == len(self)

    @property
    def is_unique(self) -> bool:
        """Whether no two cells are the same."""
        if self.numbers is None:
            return len(pc.unique(self.texts)) == len(self)
        return len(np.unique(self.numbers)) == len(self)

    def without_first(self) -> Column:
        """The column without its first cell."""
        numbers, texts = self.numbers, self.texts
        return replace(
            self,
            numbers=None if numbers is None else numbers[1:],
            texts=None if texts is None else texts[1:],
        )


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of one length, and where they come from."""

    origin: str
    """How messages call the file."""
    columns: Mapping[str, Column]
    rows: int
    place: Callable[[int], str]
    """Row → ``flats.csv:17``."""
    format: TableFormat = field(default_factory=TableFormat)
    """How texts are read as numbers."""
    reread: Callable[[str], Texts] | None = None
    """Reads the texts of a column of numbers."""
    kind: str = "text"
    """What the cells were: ``text``, or ``typed``."""
    header_is_odd: bool = False
    """Whether the names of columns look like values."""
    index: tuple[str, ...] = ()
    """Columns that were recognised as the names of the rows."""
    notes: Sequence[str] = ()
    skipped: Sequence[str] = ()
    """Lines that were left out, and why."""
    _texts: dict[str, Texts] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.columns)

    def texts(self, name: str) -> Texts:
        """A column as text, null where it is empty."""
        column = self.columns[name]
        if column.texts is not None:
            return column.texts
        if name not in self._texts:
            if self.reread is not None:
                self._texts[name] = self.reread(name)
            else:
                self._texts[name] = written(column.numbers)
        return self._texts[name]

    def labels(self, name: str, *, boolean: bool) -> NDArray[np.object_]:
        """A column as strings, None where it is empty. boolean: as True and False."""
        return np.asarray(self._labels(name, boolean).to_numpy(zero_copy_only=False), object)

    def codes(self, name: str, labels: Sequence[str], *, boolean: bool) -> NDArray[np.int64]:
        """The position of each cell among ``labels``, −1 where it is none of them."""
        found = pc.index_in(self._labels(name, boolean), value_set=pa.array(labels, pa.string()))
        return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), np.int64)

    def _labels(self, name: str, boolean: bool) -> Texts:
        texts = self.texts(name)
        if not boolean:
            return texts
        lowered = pc.utf8_lower(texts)
        true = pc.is_in(lowered, value_set=pa.array(TRUE))
        false = pc.is_in(lowered, value_set=pa.array(FALSE))
        return pc.if_else(true, "True", pc.if_else(false, "False", texts))

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Which cells of a column are missing."""
        column = self.columns[name]
        if column.numbers is not None:
            return np.isnan(column.numbers)
        return np.asarray(column.texts.is_null().to_numpy(zero_copy_only=False))

    def numbers(self, name: str, *, marked: bool = False) -> Numbers:
        """A column as numbers, NaN where it is missing.

        marked: whether a sign such as % may stand at a number. Raises CorruptInputError for a cell
        that is no number, or infinite.
        """
        column = self.columns[name]
        numbers = column.numbers
        if numbers is None:
            texts = column.texts
            numbers, wrong = scattered_numbers(unmarked(texts) if marked else texts, self.format)
            if len(wrong):
                row = int(wrong[0])
                more = f", as in {len(wrong) - 1} more rows" if len(wrong) > 1 else ""
                raise CorruptInputError(
                    f'{self.place(row)}: column "{name}": {texts[row].as_py()!r} is not a '
                    f"number{more}"
                )
        infinite = np.flatnonzero(np.isinf(numbers))
        if len(infinite):
            raise CorruptInputError(f'{self.place(int(infinite[0]))}: column "{name}" is infinite')
        return numbers


def number_pattern(layout: TableFormat) -> str:
    """A regular expression of a number, without anchors."""
    point, grouped = re.escape(layout.decimal), r"\d+"
    if layout.thousands:
        grouped = rf"(?:\d{{1,3}}(?:{re.escape(layout.thousands)}\d{{3}})+|\d+)"
    return rf"[+\-−]?(?:{grouped}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"


def parse_numbers(cells: Texts, layout: TableFormat) -> tuple[Numbers, frozenset[str]] | None:
    """Read cells that are all numbers, missing, or words for that; None: others are among them.

    Returns the words, too.
    """
    plain = cells
    if layout.decimal != "." or layout.thousands:
        plain = _with_points(pc.utf8_trim_whitespace(cells), layout)
    values = _cast(plain)
    words: frozenset[str] = frozenset()
    if values is None:
        trimmed = stripped(plain, layout)
        is_word = pc.fill_null(pc.is_in(trimmed, value_set=pa.array(sorted(WORDS))), False)
        words = frozenset(pc.unique(trimmed.filter(is_word)).to_pylist())
        plain = pc.if_else(is_word, None, pc.replace_substring(trimmed, "−", "-"))
        values = _cast(plain)
        if values is None:
            return None
    empty = plain.null_count
    missing = np.isnan(values)
    if int(missing.sum()) > empty:
        named = pa.array(missing & ~plain.is_null().to_numpy(zero_copy_only=False))
        words |= frozenset(pc.unique(cells.filter(named)).to_pylist())
    return without_markers(values, layout), words


def without_markers(numbers: Numbers, layout: TableFormat) -> Numbers:
    """NaN for the numbers that stand for missing cells, however they are written."""
    for marker in layout.missing_values:
        number = _cast(pa.array([marker]))
        if number is not None and (numbers == number[0]).any():
            numbers = np.where(numbers == number[0], np.nan, numbers)
    return numbers


def scattered_numbers(texts: Texts, layout: TableFormat) -> tuple[Numbers, NDArray[np.int64]]:
    """Read the numbers among texts. Returns NaN for the others, and the rows of those."""
    is_number = pc.match_substring_regex(texts, f"^(?:{number_pattern(layout)}|[+-]?(?i:inf))$")
    is_word = pc.is_in(texts, value_set=pa.array(sorted(WORDS)))
    found = parse_numbers(pc.if_else(is_number, texts, None), layout)
    wrong = pc.fill_null(pc.invert(pc.or_(is_number, is_word)), False)
    rows = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
    return (np.full(len(texts), np.nan) if found is None else found[0]), rows


SIGNS = r"$€£¥%‰"


def unmarked(texts: Texts) -> Texts:
    """Texts without the sign or unit before or behind their number; (5) becomes -5."""
    before = pc.replace_substring_regex(texts, rf"^(\(?[+\-−]?)\s*[{SIGNS}]\s*", r"\1")
    bare = pc.replace_substring_regex(before, r"(\d[.,]?)\s*[\p{L}\p{Sc}%‰°/²³]+(\)?)$", r"\1\2")
    return pc.replace_substring_regex(bare, r"^\((.*)\)$", r"-\1")


def written(numbers: Numbers | None) -> Texts:
    """Numbers as text: whole ones without a point, null for NaN."""
    assert numbers is not None
    whole = (numbers % 1 == 0) & (np.abs(numbers) < EXACT)
    return pa.array(
        [
            None if np.isnan(value) else f"{value:.0f}" if is_whole else repr(float(value))
            for value, is_whole in zip(numbers, whole, strict=True)
        ],
        pa.string(),
    )


def stripped(texts: Texts, layout: TableFormat) -> Texts:
    """Texts without blanks around them; null for empty ones and for the marks of missing cells."""
    trimmed = pc.utf8_trim_whitespace(texts)
    empty = pa.array(["", *layout.missing_values])
    return pc.if_else(pc.is_in(trimmed, value_set=empty), None, trimmed)


def column_of(name: str, cells: Texts, layout: TableFormat) -> Column:
    """A column from its cells as they were written."""
    encoded = cells.dictionary_encode()  # each different cell is looked at once
    different, rows = encoded.dictionary, encoded.indices
    found = parse_numbers(different, layout)
    texts = stripped(different, layout)
    if found is None or np.isnan(found[0]).all():
        ends = pc.not_equal(pc.utf8_rtrim_whitespace(different), different)
        count = int(pc.sum(ends.take(rows)).as_py() or 0)
        return Column(name, None, texts.take(rows), stripped=count)
    numbers, words = found
    code = first_code(different, numbers)
    codes = None if code is None else texts.take(rows)
    values = pa.array(numbers).take(rows).to_numpy(zero_copy_only=False)
    return Column(name, values, codes, code, tuple(sorted(words)))


def first_code(cells: Texts, numbers: Numbers) -> str | None:
    """The first integer with leading zeros (no fractions), else the first from 2⁵³ on."""
    large = pa.array(np.abs(numbers) >= EXACT)
    searched = [(cells.filter(large), r"^\s*[+-]?\d+\s*$")]
    if not has_fractions(numbers):
        searched.insert(0, (cells, r"^\s*0\d+\s*$"))
    for among, pattern in searched:
        codes = among.filter(pc.match_substring_regex(among, pattern))
        if len(codes):
            return str(codes[0]).strip()
    return None


def has_fractions(numbers: Numbers) -> bool:
    """Whether some number is not whole."""
    with np.errstate(invalid="ignore"):
        return any((part % 1 > 0).any() for part in (numbers[:1000], numbers[1000:]))


def _with_points(cells: Texts, layout: TableFormat) -> Texts:
    """Numbers in the notation of the file in that of pyarrow; other cells stay, as no numbers."""
    ours = pc.match_substring_regex(cells, f"^{number_pattern(layout)}$")
    plain = cells
    if layout.thousands:
        plain = pc.replace_substring(plain, layout.thousands, "")
    plain = pc.replace_substring(plain, layout.decimal, ".")
    # A number in another notation must not be read: 1.5 where the comma is the decimal mark.
    other = pc.replace_substring(cells, ".", "?")
    return pc.if_else(ours, plain, other)


def _cast(cells: Texts) -> Numbers | None:
    try:
        values = cells.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    return np.asarray(values.to_numpy(zero_copy_only=False))


def table_of(frame: pd.DataFrame, layout: TableFormat | None = None) -> Table:
    """A data frame as a table; messages call a row ``row 17``, counted from 0.

    layout: how texts in it are read as numbers.
    """
    names = [str(label).strip() for label in frame.columns]
    arrays = []
    for position in range(len(names)):
        series = frame.iloc[:, position]
        try:
            arrays.append(pa.array(series, from_pandas=True))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            arrays.append(pa.array([as_text(cell) for cell in series], pa.string()))
    return typed_table(
        "the data frame", names, arrays, lambda row: f"row {row}", layout or TableFormat()
    )


def as_text(cell: object) -> str | None:
    """A cell of mixed types as text; None if it is missing."""
    if cell is None or cell != cell:  # NaN and NaT differ from themselves
        return None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < EXACT:
        return f"{cell:.0f}"
    text = str(cell)
    return text.removesuffix(" 00:00:00") if hasattr(cell, "isoformat") else text


def typed_table(
    origin: str,
    names: Sequence[str],
    arrays: Sequence[Any],
    place: Callable[[int], str],
    layout: TableFormat,
    notes: Sequence[str] = (),
) -> Table:
    """A table from pyarrow arrays of any types."""
    columns = {
        name: _typed_column(name, array, layout, origin)
        for name, array in zip(names, arrays, strict=True)
    }
    rows = len(arrays[0]) if arrays else 0
    return Table(origin, columns, rows, place, layout, kind="typed", notes=notes)


def _typed_column(name: str, array: Any, layout: TableFormat, origin: str) -> Column:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_boolean(kind):
        words = pc.if_else(array, "True", "False")
        return Column(name, None, words)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = np.asarray(
            array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64
        )
        numbers = without_markers(numbers, layout)
        if np.isnan(numbers).all():
            return Column(name, None, pa.nulls(len(array), pa.string()))
        if pa.types.is_integer(kind) and (np.abs(numbers) >= EXACT).any():
            texts = array.cast(pa.string())
            return Column(name, numbers, texts, first_code(texts, numbers))
        return Column(name, numbers, None)
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        texts = [as_text(cell) for cell in array.to_pylist()]
        return Column(name, None, pa.array(texts, pa.string()))
    try:
        texts = array.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return Column(
            name,
            None,
            pa.nulls(len(array), pa.string()),
            fault=f'{origin}: column "{name}" holds {kind}',
        )
    return column_of(name, texts, layout)
