"""What a column is: numbers, categories, true and false, dates, or nothing that can be used.

One decision for each column, over its texts in all tables of a dataset: the training file alone
may hold nothing but digits where the test file has letters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from regrun.data.preprocessing import TableFormat
from regrun.data.table import (
    FALSE,
    SIGNS,
    TRUE,
    WORDS,
    Table,
    Texts,
    has_fractions,
    number_pattern,
    unmarked,
)
from regrun.errors import ConfigError, CorruptInputError

Declared = Literal["number", "category", "ignore"]

MOST_CATEGORIES = 1000
"""A text column with more different texts is an identifier, not a feature."""

FEW = 20
"""Numbers among texts may be codes if there are at most so many different ones."""

FEW_TEXTS = 10
"""So many different texts are categories, however few rows there are."""

_DATE = (
    r"^(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})"
    r"|\d{1,2}[ .-]+\p{L}{3,9}\.?[ ,.-]+\d{2,4}|\p{L}{3,9}\.? \d{1,2},? \d{4}|\d{4}-\d{2})"
    r"(?:[T ,]+\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?"
    r"(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?)?$|^\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?$"
)


_NAMES_ROWS = re.compile(r"(?i)(?:^|[ _.])(?:id|idx|index|row|key|nr|no|number)$|[a-z]I[dD]$")


@dataclass(frozen=True)
class ColumnType:
    """What a column of several tables is."""

    type: Literal["number", "category", "boolean", "date", "empty"]
    marked: bool = False
    """Whether a sign such as % may stand at the numbers."""
    notes: list[str] = field(default_factory=list)
    """What was guessed, and the key that says otherwise."""


@dataclass(frozen=True)
class DifferentTexts:
    """The different texts of a column, and how often each occurs."""

    texts: Texts
    counts: NDArray[np.int64]

    def matching(self, pattern: str) -> NDArray[np.bool_]:
        found = pc.match_substring_regex(self.texts, pattern)
        return np.asarray(found.to_numpy(zero_copy_only=False), bool)

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    def first(self, mask: NDArray[np.bool_]) -> str:
        return str(self.texts[int(np.flatnonzero(mask)[0])])

    def commonest(self, mask: NDArray[np.bool_]) -> str:
        among = np.where(mask, self.counts, 0)
        return str(self.texts[int(among.argmax())])


def column_type(name: str, tables: Sequence[Table], declared: Declared | None = None) -> ColumnType:
    """Decide what a column is. declared: what the config says of it.

    Raises ConfigError at the key that helps for numbers in disguise and for identifiers,
    CorruptInputError for mistyped numbers.
    """
    columns = [table.columns[name] for table in tables]
    for table, column in zip(tables, columns, strict=True):
        if column.fault:
            hint = _reference(name, table)
            raise CorruptInputError(f"{column.fault}; leave it out by ignore: [{hint}]")
    if declared == "number":
        marked = any(column.numbers is None for column in columns)
        return ColumnType("number", marked, _signs(name, tables) if marked else [])
    if all(column.is_empty for column in columns):
        return ColumnType("empty")
    if declared == "category":
        return ColumnType("category", notes=_stripped(name, tables))
    code = next((column.codes for column in columns if column.codes), None)
    if all(column.numbers is not None or column.is_empty for column in columns):
        words = sorted({word for column in columns for word in column.words})
        notes = [f'column "{name}": {_listed(words)} among the numbers: missing cells'] * bool(
            words
        )
        if code is None:
            return ColumnType("number", notes=[*notes, *_suspicious(name, tables)])
        why = "leading zeros" if code.startswith("0") else "integers beyond 2⁵³"
        return _category(
            name,
            tables,
            [
                f'column "{name}": {why} ({code}), so its cells are texts, not '
                f"numbers (dataset.columns: {{{name}: number}})"
            ],
        )
    values = different_texts(name, tables)
    boolean = boolean_type(name, values)
    if boolean is not None:
        return boolean
    dates = values.matching(_DATE)
    if values.counts[dates].sum() >= 0.9 * values.rows:
        return ColumnType("date")
    if not values.matching(r"^0\d+$").any():
        _refuse_disguised(name, tables, values, tables[0].format)
    return _category(name, tables, [])


def boolean_type(name: str, values: DifferentTexts) -> ColumnType | None:
    """The type of a column of true and false, however they are written; None for others."""
    few = values.texts.to_pylist() if len(values.texts) <= 12 else []
    lowered = {text.lower() for text in few}
    if not lowered & {"true", "false"} or not lowered <= {*TRUE, *FALSE}:
        return None
    digits = sorted(lowered & {"0", "1"})
    note = f'column "{name}": {_listed(digits)} among true and false: the same'
    return ColumnType("boolean", notes=[note] * bool(digits))


def check_categories(name: str, tables: Sequence[Table], declared: Declared | None) -> None:
    """Refuse a text column of names, comments or other identifiers."""
    values = different_texts(name, tables)
    values_found, rows = len(values.texts), values.rows
    if values_found > MOST_CATEGORIES:
        raise ConfigError.at(
            "dataset.ignore",
            f'column "{name}" holds {values_found:,} different texts, more than '
            f"{MOST_CATEGORIES:,}; leave it out by ignore: [{name}]",
        )
    if declared is None and values_found > max(FEW_TEXTS, rows / 2):
        raise ConfigError.at(
            "dataset.ignore",
            f'column "{name}" holds {values_found:,} different texts in {rows:,} rows: nearly one '
            f"for each, from which nothing can be learnt; leave it out by ignore: [{name}], or "
            f"keep it by columns: {{{name}: category}}",
        )


def names_rows(name: str, table: Table) -> bool:
    """Whether a column is called as identifiers are, and no two of its cells are the same."""
    column = table.columns[name]
    if not _NAMES_ROWS.search(name) or not column.is_unique or len(column) < 3:
        return False
    return column.numbers is None or not has_fractions(column.numbers)


def place_of(name: str, tables: Sequence[Table], text: str) -> str:
    """Where a text is first found in a column."""
    for table in tables:
        row = pc.index(table.texts(name), text).as_py()
        if row >= 0:
            return table.place(row)
    return tables[0].origin


def _signs(name: str, tables: Sequence[Table]) -> list[str]:
    """A note on the signs and units that are taken off declared numbers."""
    texts = different_texts(name, tables).texts
    bare = unmarked(texts)
    changed = texts.filter(pc.not_equal(texts, bare))
    if not len(changed):
        return []
    read = bare.filter(pc.not_equal(texts, bare))[0]
    return [f'column "{name}": signs and units are left out; "{changed[0]}" is read as {read}']


def _suspicious(name: str, tables: Sequence[Table]) -> list[str]:
    """A note on numbers that are dates or count the rows: they are used, but rarely should be."""
    numbers = tables[0].columns[name].numbers
    if numbers is None or len(numbers) <= FEW_TEXTS or not np.isfinite(numbers).all():
        return []
    if (numbers % 1 != 0).any():
        return []
    use = f"it is used as a number (dataset.ignore: [{name}])"
    if _NAMES_ROWS.search(name) and (np.diff(numbers) == 1).all():
        return [f'column "{name}" counts the rows; {use}']
    month, day = numbers // 100 % 100, numbers % 100
    if ((numbers >= 19000101) & (numbers <= 21001231)).all() and (
        (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    ).all():
        return [f'column "{name}" looks like dates ({numbers[0]:.0f}); {use}']
    return []


def _category(name: str, tables: Sequence[Table], notes: list[str]) -> ColumnType:
    values = different_texts(name, tables)
    words = [text for text in values.texts.to_pylist() if text in WORDS or text == "?"]
    if words:
        count = int(
            values.counts[values.matching(rf"^(?:{'|'.join(map(re.escape, words))})$")].sum()
        )
        notes.append(
            f'column "{name}": {_listed(words)} in {count} rows is a text as any other '
            f"(missing_values: [{', '.join(_quoted(word) for word in words)}] makes it missing)"
        )
    return ColumnType("category", notes=[*notes, *_stripped(name, tables)])


def _stripped(name: str, tables: Sequence[Table]) -> list[str]:
    count = sum(table.columns[name].stripped for table in tables)
    return [f'column "{name}": blanks removed at the end of {count} texts'] * bool(count)


def different_texts(name: str, tables: Sequence[Table]) -> DifferentTexts:
    texts = pa.chunked_array([table.texts(name) for table in tables], pa.string())
    counted = texts.drop_null().value_counts()
    return DifferentTexts(
        counted.field("values"), np.asarray(counted.field("counts").to_numpy(), np.int64)
    )


def _refuse_disguised(
    name: str, tables: Sequence[Table], values: DifferentTexts, layout: TableFormat
) -> None:
    """Refuse numbers that are written in another way, or among which marks of missing cells are."""
    number = number_pattern(layout)
    plain = values.matching(f"^(?:{number}|[+-]?(?i:inf))$")
    word = np.isin(np.array(values.texts.to_pylist(), object), sorted(WORDS))
    symbol = values.matching(r"^[^\p{L}\d]+$")
    accepted = values.rows - int(values.counts[word | symbol].sum())

    def refuse(mask: NDArray[np.bool_], key: str, hint: str) -> None:
        text = values.first(mask)
        raise ConfigError.at(
            f"dataset.{key}",
            f'column "{name}": "{text}" at {place_of(name, tables, text)} looks like a number in '
            f"another notation; {hint}, columns: {{{name}: category}} keeps such texts",
        )

    def explains(mask: NDArray[np.bool_]) -> bool:
        """Whether these and the plain numbers are nearly all cells."""
        found = int(values.counts[mask | plain].sum())
        return bool(mask.any()) and found >= 0.9 * accepted

    comma = values.matching(r"^[+-]?\d*,\d+(?:[eE][+-]?\d+)?$")
    by_comma = values.matching(r"^[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?$")
    by_point = values.matching(r"^[+-]?\d{1,3}(?:\.\d{3})+(?:,\d*)?$")
    by_mark = values.matching(r"^[+-]?\d{1,3}(?:[ '’_\x{a0}\x{202f}]\d{3})+(?:[.,]\d*)?$")
    if layout.decimal == "." and explains(comma | by_point) and (comma & ~by_comma).any():
        points = (by_point & ~plain).any() or (by_point & values.matching(",")).any()
        more = ' with thousands: "."' if points else ""
        refuse(comma & ~by_comma, "decimal", f'decimal: ","{more} reads it')
    if layout.thousands is None:
        if explains(by_comma) and layout.decimal == ".":
            either = not values.matching(r"\.|,.*,")[by_comma].any()
            other = ' (or decimal: ",", if it is a fraction)' if either else ""
            refuse(by_comma, "thousands", f'thousands: "," reads it{other}')
        if explains(by_point & ~plain):
            refuse(by_point & ~plain, "thousands", 'thousands: "." with decimal: "," reads it')
        if explains(by_mark):
            mark = re.sub(r"[\d.,+-]", "", values.first(by_mark))[0]
            refuse(by_mark, "thousands", f'thousands: "{mark}" reads it')
    loose = r"(?:\d{1,3}(?:[,.' ]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?"
    signed = values.matching(
        rf"^[+-]?\s*[{SIGNS}]\s*[+-]?{loose}$|^\(?[+-]?{loose}\s*[{SIGNS}]\)?$|^\({loose}\)$"
    )
    if explains(signed):
        more = _notation(values.texts.filter(pa.array(signed)), layout)
        refuse(signed, "columns", f"columns: {{{name}: number}}{more} reads it without the sign")
    unit = values.matching(rf"^[+-]?{loose}\s*[\p{{L}}°/²³µ]+$")
    if explains(unit) and int(unit.sum()) > FEW and len(_units(values, unit)) == 1:
        more = _notation(values.texts.filter(pa.array(unit)), layout)
        refuse(unit, "columns", f"columns: {{{name}: number}}{more} reads it without the unit")
    _refuse_mistyped(name, tables, values, plain, word, symbol)


def _notation(texts: Texts, layout: TableFormat) -> str:
    """The other key that numbers with a sign or unit need."""
    bare = [text for text in unmarked(texts).to_pylist() if not _is_number(text, layout)]
    if not bare:
        return ""
    grouped = all(re.fullmatch(r"[+\-−]?\d{1,3}(,\d{3})+(\.\d*)?", text) for text in bare)
    return ' with thousands: ","' if grouped else ' with decimal: ","' if "," in bare[0] else ""


def _is_number(text: str, layout: TableFormat) -> bool:
    return re.fullmatch(number_pattern(layout), text) is not None


def _units(values: DifferentTexts, mask: NDArray[np.bool_]) -> set[str]:
    texts = values.texts.filter(pa.array(mask)).to_pylist()
    return {re.sub(r"^.*[\d.,]\s*", "", text) for text in texts}


def _refuse_mistyped(
    name: str,
    tables: Sequence[Table],
    values: DifferentTexts,
    plain: NDArray[np.bool_],
    word: NDArray[np.bool_],
    symbol: NDArray[np.bool_],
) -> None:
    """Refuse a few texts among numbers."""
    others = ~plain & ~word
    if not plain.any() or not others.any():
        return
    numbers, wrong = int(values.counts[plain].sum()), int(values.counts[others].sum())
    text = values.commonest(others)
    where = place_of(name, tables, text)
    if symbol[others].all():
        found = values.texts.filter(pa.array(others)).to_pylist()
        raise ConfigError.at(
            "dataset.missing_values",
            f'column "{name}": {_listed(found)} in {wrong} of {values.rows} cells, among numbers; '
            f"first at {where}; missing_values: [{', '.join(map(_quoted, found[:5]))}] makes it a "
            f"missing cell, columns: {{{name}: category}} a category",
        )
    if numbers < wrong or int(plain.sum()) <= FEW:
        return
    if text == name:
        raise CorruptInputError(f'{where}: column "{name}": the header again, among the rows')
    if values.counts[others].max() > 1:
        raise ConfigError.at(
            "dataset.missing_values",
            f'column "{name}": "{text}" at {where} is not a number, as {numbers} of its cells are; '
            f"missing_values: [{_quoted(text)}] makes it a missing cell, columns: {{{name}: "
            "category} makes categories of all",
        )
    raise CorruptInputError(
        f'{where}: column "{name}": {text!r} is not a number, as the {numbers} others of the '
        f"column are (columns: {{{name}: category}} makes categories of all)"
    )


def _listed(texts: Sequence[Any]) -> str:
    shown = ", ".join(f'"{text}"' for text in texts[:5])
    return shown + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")


def _quoted(text: str) -> str:
    return (
        text if re.fullmatch(r"[A-Za-z][\w/]*", text) and text.lower() not in _YAML else f'"{text}"'
    )


_YAML = ("null", "true", "false", "yes", "no", "on", "off")


def _reference(name: str, table: Table) -> str:
    """How a config names the column: nameless ones by their position."""
    return str(table.names.index(name)) if re.fullmatch(r"column \d+", name) else name
