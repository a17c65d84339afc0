"""Which column of a table is what: a target, a feature, the index, or ignored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from regrun.data.columns import ColumnType, Declared, check_categories, column_type
from regrun.data.table import Table
from regrun.errors import ConfigError
from regrun.suggest import did_you_mean

_NUMBER = re.compile(r"-?\d+")


@dataclass(frozen=True)
class Roles:
    """Columns by name, in all tables of a dataset."""

    tables: Sequence[Table]
    targets: tuple[str, ...]
    ignored: tuple[str, ...]
    indices: tuple[str, ...]
    declared: Mapping[str, Declared]
    features: tuple[str, ...]
    splitting: Mapping[str, str]
    """`stratify`, `group` or `time` → the column that decides how rows are divided."""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        tables: Sequence[Table],
        target: Sequence[str | int],
        ignore: Sequence[str | int],
        index: str | int | None,
        columns: Mapping[str, Declared],
        splitting: Mapping[str, str | int | None],
    ) -> Roles:
        """Find the columns that a config names. Raises ConfigError for those that are not there."""
        table = tables[0]
        targets = tuple(find_column(each, table, "target") for each in target)
        declared = {find_column(each, table, "columns"): as_ for each, as_ in columns.items()}
        ignored = [find_column(each, table, "ignore") for each in ignore]
        for name in ignored:
            if name in targets:
                raise ConfigError.at("dataset.ignore", f'"{name}" is the target')
        ignored += [name for name, as_ in declared.items() if as_ == "ignore"]
        for name in targets:
            if declared.get(name) == "ignore":
                raise ConfigError.at("dataset.columns", f'ignore: "{name}" is the target')
            if targets.count(name) > 1:
                raise ConfigError.at("dataset.target", f'"{name}" is named twice')
        notes = []
        if index is not None:
            indices: tuple[str, ...] = (find_column(index, table, "index"),)
            if indices[0] in targets:
                raise ConfigError.at("dataset.index", f'"{indices[0]}" is the target')
        else:
            indices = tuple(
                name
                for name in table.index
                if name not in (*targets, *ignored) and name not in declared
            )
            notes += [
                f'{table.origin}: "{name}" is taken for the index of the rows and is no feature '
                f'(dataset.columns: {{"{name}": number}})'
                for name in indices
            ]
        dividing = {
            key: find_column(each, table, key)
            for key, each in splitting.items()
            if each is not None
        }
        if len(dividing) > 1:
            one, second, *_ = dividing
            raise ConfigError.at(f"dataset.{second}", f"{one} is given, too; give one of them")
        apart = [name for key, name in dividing.items() if key != "stratify"]
        for key, name in dividing.items():
            if key != "stratify" and name in targets:
                raise ConfigError.at(f"dataset.{key}", f'"{name}" is the target')
        used = (*targets, *ignored, *indices, *apart)
        features = tuple(name for name in table.names if name not in used)
        if not features:
            raise ConfigError.at(
                "dataset.path", f"{table.origin}: no column is left apart from the target"
            )
        for other in tables[1:]:
            for name in (*features, *targets):
                if name not in other.columns:
                    hint = (
                        "; a test set needs its targets (`regrun predict` needs none)"
                        if name in targets
                        else did_you_mean(name, other.names)
                    )
                    raise ConfigError.at(
                        "dataset.test_path",
                        f'{other.origin}: no column "{name}", which {table.origin} has{hint}',
                    )
        return cls(tables, targets, tuple(ignored), indices, declared, features, dividing, notes)

    def feature_types(self) -> tuple[dict[str, ColumnType], list[str]]:
        """What each column that becomes features is; notes on guesses and on what is left out."""
        types, notes = {}, []
        for name in self.features:
            declared = self.declared.get(name)
            kind = column_type(name, self.tables, declared)
            if kind.type == "empty" or self.tables[0].columns[name].is_empty:
                raise ConfigError.at(
                    "dataset.ignore",
                    f'{self.tables[0].origin}: column "{name}" is empty; leave it out by '
                    f"ignore: [{name}]",
                )
            notes += kind.notes
            if kind.type == "date":
                notes.append(
                    f'column "{name}" holds dates or times, which are no features, and is left out '
                    f"(dataset.columns: {{{name}: category}} makes each a category)"
                )
                continue
            if kind.type == "category":
                check_categories(name, self.tables, declared)
            types[name] = kind
        if not types:
            raise ConfigError.at(
                "dataset.path",
                f"{self.tables[0].origin}: no feature is left: {'; '.join(notes)}",
            )
        return types, notes


def find_column(wanted: str | int, table: Table, key: str) -> str:
    """The column of this name, else at this position. Raises ConfigError at ``dataset.<key>``."""
    names = table.names
    if str(wanted) in table.columns:
        return str(wanted)
    if _NUMBER.fullmatch(str(wanted)) and -len(names) <= int(wanted) < len(names):
        return names[int(wanted)]
    hint = did_you_mean(wanted, names)
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    other = next((mark for mark in ";\t| " if mark in names[0]), None)
    alone = ""
    if len(names) == 1:
        alone = f"; one column: is {table.format.separator!r} the separator?"
        alone += f" {other!r} is in the header" if other else ""
    header = "; is there no header line? header: none" if table.header_is_odd else ""
    raise ConfigError.at(
        f"dataset.{key}", f'no column "{wanted}"{hint}; columns: {shown}{alone}{header}'
    )
