"""The keys of `dataset` that suit a table, found by reading it as training would.

Each way to read the table is tried with the readers of `regrun.data`; the errors with which they
refuse a column say which key has to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from regrun.data.columns import (
    Declared,
    check_categories,
    column_type,
    different_texts,
    names_rows,
)
from regrun.data.preprocessing import TableFormat
from regrun.data.roles import find_column
from regrun.data.table import Table, number_pattern
from regrun.data.table_file import read_table
from regrun.data.written_keys import WrittenKey
from regrun.errors import ConfigError, CorruptInputError
from regrun.regular_files import open_file

SEPARATORS = (";", "\t", "|", None, " ")
"""In the order in which they are tried: a comma, the default, is within numbers, a blank within
texts."""

_LAYOUTS: tuple[dict[str, str | int | bool], ...] = (
    {},
    {"comment": "#"},
    {"comment": "%"},
    {"encoding": "cp1252"},
    {"encoding": "utf-16-le"},
    {"header": False},
    {"skip_rows": 1},
    {"skip_rows": 2},
    {"skip_rows": 3},
)
"""What is tried in turn, until there are several columns."""

_NOTATIONS: tuple[dict[str, str], ...] = (
    {"decimal": ","},
    {"thousands": ","},
    {"decimal": ",", "thousands": "."},
    *({"thousands": mark} for mark in " '’_\u00a0\u202f"),
    *({"decimal": ",", "thousands": mark} for mark in " '’_\u00a0\u202f"),
)
"""How numbers may be written besides 1234.5."""

MOST_MARKS = 5
"""More different texts among numbers are categories, not marks of missing cells."""


def first_table_keys(path: Path, target: str | None) -> list[WrittenKey]:
    """Find the keys under which a table can be trained on.

    target: the column to predict; None: the last one that can be.

    Raises CorruptInputError for a file that is no table, ConfigError where no feature is left or
    there is no such target.
    """
    look = _Look(path, _first_layout(path))
    look.settle()
    return list(look.keys(target))


def _first_layout(path: Path) -> TableFormat:
    """The first way to read the file that finds several columns, else the default one.

    Raises what the default one raises, where no way finds several.
    """
    for changes in _LAYOUTS:
        for separator in SEPARATORS:
            layout = TableFormat.model_validate({"separator": separator, **changes})
            if layout.skip_rows and not _is_preface(path, layout):
                continue
            try:
                table = read_table(path, layout)
            except (CorruptInputError, ConfigError):
                continue
            if table.kind == "typed" or table.format.separator != (separator or ","):
                layout = layout.model_copy(update={"separator": None})  # which has no effect
            columns = table.columns.values()
            if not layout.header and all(column.numbers is None for column in columns):
                continue  # a header that is wrong in another way
            named = [name for name, column in table.columns.items() if not column.fault]
            if len({*named} - {*table.index}) > 1:
                return layout
    default = TableFormat()
    read_table(path, default)
    return default


def _is_preface(path: Path, layout: TableFormat) -> bool:
    """Whether the lines to skip are no rows: one cell each, or the separator for Excel."""
    try:
        with open_file(path) as file:
            lines = list(islice(file, layout.skip_rows))
    except OSError:  # reading the table says why
        return False
    separator = (layout.separator or ",").encode()
    return all(separator not in line or line.startswith(b"sep=") for line in lines)


@dataclass
class _Look:
    """What was found out about a table so far."""

    path: Path
    layout: TableFormat
    declared: dict[str, Declared] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    """Texts that stand for missing cells."""
    table: Table = field(init=False)

    def __post_init__(self) -> None:
        self._read(self.layout)

    def _read(self, layout: TableFormat) -> None:
        self.layout = layout.model_copy(update={"missing_values": [*self.marks]})
        self.table = read_table(self.path, self.layout)

    def settle(self) -> None:
        """Change what is read, and how, until no column is refused."""
        while self._step():
            pass

    def _step(self) -> bool:
        """Change one thing; whether there was something to change."""
        if self.layout.header and self.table.header_is_odd:
            self._read(self.layout.model_copy(update={"header": False}))
            return True
        for name, column in self.table.columns.items():
            if column.fault or self.declared.get(name) == "category":
                continue
            try:
                column_type(name, [self.table], self.declared.get(name))
            except ConfigError as error:
                self._change(name, str(error.problems[0].path[-1]))
                return True
            except CorruptInputError:
                self._change(name, "missing_values")
                return True
        return False

    def _change(self, name: str, key: str) -> None:
        """Change what `key` says, so that the column is accepted."""
        if key == "columns":
            self.declared[name] = "number"
            if self._is_number(name, self.layout):
                return
        if key != "missing_values":
            for changes in _NOTATIONS:
                layout = self.layout.model_copy(update=changes)
                if layout.decimal != layout.thousands and self._is_number(name, layout):
                    self._read(layout)
                    return
        marks = self._marks(name)
        if key == "missing_values" and marks and not {*marks} & {*self.marks}:
            self.marks += marks
            self._read(self.layout)
        else:
            self.declared[name] = "category"

    def _is_number(self, name: str, layout: TableFormat) -> bool:
        table = read_table(self.path, layout)
        declared = self.declared.get(name)
        try:
            kind = column_type(name, [table], declared)
            table.numbers(name, marked=kind.marked)
        except (ConfigError, CorruptInputError):
            return False
        return kind.type == "number"

    def _marks(self, name: str) -> list[str]:
        """The texts among the numbers of a column; none where they are many."""
        texts = different_texts(name, [self.table]).texts.to_pylist()
        number = re.compile(number_pattern(self.layout))
        others = [text for text in texts if not number.fullmatch(text)]
        return others if len(others) <= MOST_MARKS else []

    # --- keys ---------------------------------------------------------------------------------

    def keys(self, target: str | None) -> Iterator[WrittenKey]:
        """Yield the keys, in the order in which a reader wants to see them."""
        useless = self._useless()
        chosen, why = self._target(target, useless)
        yield WrittenKey("target", chosen, f"the column to predict: {why}")
        useless.pop(chosen, None)
        rest = [
            name for name in self.table.names if name != chosen and name not in self.table.index
        ]
        features = [name for name in rest if name not in useless]
        if not features:  # better an identifier than nothing
            features = [name for name in rest if useless[name] == _IDENTIFIER]
            useless = {name: reason for name, reason in useless.items() if name not in features}
        if not features:
            why = "; ".join(f'"{name}" {reason}' for name, reason in useless.items())
            more = f": {why}" if why else f': the only column is "{chosen}"'
            raise ConfigError.at("dataset.path", f"{self.path}: no feature is left{more}")
        if useless:
            reasons = "; ".join(f"{name} {reason}" for name, reason in islice(useless.items(), 5))
            yield WrittenKey("ignore", list(useless), f"no features: {reasons}")
        yield from self._layout_keys()
        declared = {name: str(kind) for name, kind in self.declared.items() if name not in useless}
        if declared:
            yield WrittenKey("columns", declared, "what the cells alone do not show")
        missing = {name: self._missing(name) for name in features}
        empty = [name for name in features if missing[name]]
        if empty:
            count = sum(missing.values())
            why = f"fills {count:,} empty cells in {_some(empty)}; or: mean, most_frequent"
            yield WrittenKey("missing", "median", why)

    def _layout_keys(self) -> Iterator[WrittenKey]:
        layout = self.layout
        if layout.separator is not None:
            yield WrittenKey("separator", layout.separator, "what stands between two cells")
        if layout.decimal != ".":
            yield WrittenKey("decimal", layout.decimal, "numbers have a decimal comma")
        if layout.thousands is not None:
            yield WrittenKey("thousands", layout.thousands, "stands between groups of digits")
        if layout.encoding is not None:
            yield WrittenKey("encoding", layout.encoding, "the file is not UTF-8")
        if not layout.header:
            yield WrittenKey("header", "none", "the first line is a row: columns are 0, 1, 2, …")
        if layout.comment is not None:
            yield WrittenKey("comment", layout.comment, "lines that begin with it are skipped")
        if layout.skip_rows:
            yield WrittenKey("skip_rows", layout.skip_rows, "lines above the header")
        if self.marks:
            yield WrittenKey("missing_values", self.marks, "stand for an empty cell")

    def _useless(self) -> dict[str, str]:
        """Columns that cannot be features or should not be → why."""
        found = {}
        for name, column in self.table.columns.items():
            if column.fault:
                found[name] = "has no name"
                continue
            if name in self.table.index:
                continue
            kind = column_type(name, [self.table], self.declared.get(name))
            if kind.type == "empty":
                found[name] = "is empty"
            elif kind.type == "date":
                found[name] = "holds dates or times (dataset.time splits by them)"
            elif names_rows(name, self.table):
                found[name] = _IDENTIFIER
            elif kind.type == "category":
                try:
                    check_categories(name, [self.table], None)
                except ConfigError:
                    count = len(different_texts(name, [self.table]).texts)
                    found[name] = f"holds {count:,} different texts"
        return found

    def _missing(self, name: str) -> int:
        """How many cells of a column are empty."""
        if self.declared.get(name) == "number":
            return int(np.isnan(self.table.numbers(name, marked=True)).sum())
        return int(self.table.missing(name).sum())

    def _target(self, wanted: str | None, useless: dict[str, str]) -> tuple[str, str]:
        """The column to predict, and why it is this one."""
        if wanted is not None:
            return find_column(wanted, self.table, "target"), "as --target says"
        names = [name for name in self.table.names if name not in self.table.index]
        for name in reversed(names):
            if name not in useless and self._varies(name):
                last = "the last one" if name == names[-1] else "the last one that can be predicted"
                return name, f"{last} (--target chooses another)"
        name = names[-1]
        reason = useless.get(name, "is the same in every row, or empty in some")
        raise ConfigError.at(
            "dataset.target",
            f'{self.path}: no column can be predicted; the last, "{name}", {reason}',
        )

    def _varies(self, name: str) -> bool:
        """Whether a column has two values, and one in each row."""
        numbers = self.table.columns[name].numbers
        if self._missing(name):
            return False
        if numbers is not None:
            return len(np.unique(numbers)) > 1
        return len(different_texts(name, [self.table]).texts) > 1


_IDENTIFIER = "looks like an identifier"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
