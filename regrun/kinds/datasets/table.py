"""A table of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeVar

from pydantic import Field, Strict

from regrun.errors import ConfigError
from regrun.kinds.datasets.base import DatasetSection, Held, Progress, Subset, Task

if TYPE_CHECKING:
    from pathlib import Path

    from regrun.data.dataset import Dataset
    from regrun.data.preprocessing import TableFormat
    from regrun.data.written_keys import WrittenKey

ColumnName = str | int
"""A name, or a position counted from 0 (negative: from the end)."""
ColumnNames = ColumnName | Annotated[tuple[ColumnName, ...], Strict(False)]
Character = Annotated[str, Field(min_length=1, max_length=1)]
Marker = str | int | float
T = TypeVar("T")


class CSV(Subset, DatasetSection):
    """A table of your own: delimited text, Parquet or Excel; text columns are one-hot encoded."""

    origin: ClassVar[str] = "your file"
    name: Literal["csv"]
    path: str
    """The file; relative to the config file, else to the working directory. Text may be compressed
    (gzip, bz2, xz, zstd, zip)."""
    target: ColumnNames
    """The column to predict, by name or by number (from 0); a list of columns of numbers to predict
    several."""
    ignore: ColumnNames = ()
    """Columns that are no features, such as an identifier."""
    separator: Character | None = None
    """What stands between two cells. Default: a comma, or a tab in a `.tsv` file. A blank stands
    for any number of blanks and tabs."""
    decimal: Literal[".", ","] = "."
    """The decimal mark."""
    thousands: Character | None = None
    """What may stand between groups of three digits, such as `,` in 1,234."""
    encoding: str | None = None
    """Default: utf-8, or what the byte order mark of the file says."""
    header: bool | Literal["none"] = True
    """Whether the first line names the columns; `none` (or false): they are called 0, 1, 2, …"""
    comment: Annotated[str, Field(min_length=1)] | None = None
    """Lines that begin with it are skipped."""
    skip_rows: Annotated[int, Field(ge=0)] = 0
    """Lines to skip at the beginning of the file."""
    missing_values: Marker | Annotated[tuple[Marker, ...], Strict(False)] = ()
    """What stands for a missing cell besides an empty one, such as `["?", -999]`. Among numbers,
    NA, nan, null and the like always do."""
    columns: dict[str, Literal["number", "category", "ignore"]] = Field(default={})
    """What columns are, where the file does not show it: `{zip: category, code: number}`."""
    index: ColumnName | None = None
    """The column that names the rows; it is no feature."""
    task: Task | None = None
    """Default: classification when the target is text or boolean, or integers that are few or codes
    without a gap."""
    test: Held = 0.2
    """Held out as the test set, unless `test_path` is given."""
    test_path: str | None = None
    """A second file with the same columns, used as the test set."""
    stratify: ColumnName | None = None
    """Draw test and validation sets in the proportions of this column instead of the classes."""
    group: ColumnName | None = None
    """Rows with the same value here, such as those of one patient, stay in one part: whole groups
    are drawn, a fraction being one of the groups. The column is no feature."""
    time: ColumnName | None = None
    """A date, a time or a number: the latest rows are the test set, those before them the
    validation set, and rows of one time stay together. The column is no feature."""
    missing: Literal["refuse", "mean", "median", "most_frequent"] = "refuse"
    """Empty cells: refuse the file, or impute from the training rows (text columns always by the
    most frequent value)."""

    @classmethod
    def first_keys(cls, path: Path, target: str | None) -> list[WrittenKey] | None:
        """Look at the columns, and at how they are written."""
        from regrun.data.first_table import first_table_keys
        from regrun.data.npz_file import holds_arrays

        if path.is_dir() or holds_arrays(path):
            return None
        return first_table_keys(path, target)

    def load(self, progress: Progress | None = None) -> Dataset:
        """Numbers as they are, text and booleans one-hot encoded, missing cells as `missing` says.

        Split first, then encode: what is imputed and which categories there are is learnt from the
        training rows alone.
        """
        import torch

        from regrun.data.assemble import assemble
        from regrun.data.dataset import Examples, Provenance, Split
        from regrun.data.encode import fit_inputs
        from regrun.data.files import find_file
        from regrun.data.roles import Roles
        from regrun.data.split_columns import split_order
        from regrun.data.table_card import column_cards, input_card
        from regrun.data.table_file import read_table
        from regrun.data.table_targets import table_targets

        layout = self._format()
        paths = {"path": self.path}
        if self.test_path is not None:
            paths["test_path"] = self.test_path
        tables = [read_table(find_file(path, key), layout) for key, path in paths.items()]
        roles = Roles.of(
            tables,
            _listed(self.target),
            _listed(self.ignore),
            self.index,
            self.columns,
            {"stratify": self.stratify, "group": self.group, "time": self.time},
        )
        found = table_targets(tables, roles.targets, self.task, roles.declared)
        types, guesses = roles.feature_types()

        targets = [torch.from_numpy(values) for values in found.values]
        held_out = self.test if self.test_path is None else targets[1]
        order = split_order(tables, roles.splitting)
        parts = self._parts(targets[0], held_out, found.class_names, order)
        inputs, learnt = fit_inputs(types, tables, parts.train.numpy(), self.missing)
        held = [(tables[-1], parts.test.numpy())]
        if parts.validation is not None:
            held.insert(0, (tables[0], parts.validation.numpy()))
        unknown = inputs.unknown_categories(held, "held-out rows")
        splits = [
            Split(torch.from_numpy(inputs.transform(table)), values)
            for table, values in zip(tables, targets, strict=True)
        ]
        standardize = self._standardizes(images=False)
        read = [note for table in tables for note in table.notes]
        examples = Examples(
            found.task,
            splits[0],
            self.test if self.test_path is None else splits[1],
            feature_names=inputs.feature_names,
            class_names=found.class_names,
            notes=[*read, *roles.notes, *found.notes, *guesses, *learnt, *unknown],
            inputs=inputs,
            provenance=Provenance(
                files=tuple(paths.values()),
                task_reason=found.reason,
                input=input_card(tables, inputs),
                columns=tuple(column_cards(roles, found, types, inputs, self.missing, standardize)),
                skipped=tuple(line for table in tables for line in table.skipped),
                target_names=tuple(roles.targets),
            ),
        )
        return assemble(self.name, examples, parts, self._scaling(standardize))

    def estimate_bytes(self) -> int | None:
        from pathlib import Path

        from regrun.data.sizes import TABLE_FACTOR, unpacked_bytes

        paths = [self.path] if self.test_path is None else [self.path, self.test_path]
        sizes = [unpacked_bytes(Path(path).expanduser()) for path in paths]
        return TABLE_FACTOR * sum(size or 0 for size in sizes)

    def draws_data(self) -> bool:
        """Rows with times are divided by them; only `num_test` of the test rows are drawn."""
        if self.time is not None:
            return self.num_test is not None
        return super().draws_data()

    def _format(self) -> TableFormat:
        """How the files are read."""
        from regrun.data.preprocessing import TableFormat

        if self.separator is not None and self.separator in '"\r\n':
            raise ConfigError.at("dataset.separator", f"{self.separator!r} cannot separate cells")
        if self.thousands == self.decimal:
            raise ConfigError.at(
                "dataset.thousands", f'"{self.thousands}" is the decimal mark, too'
            )
        return TableFormat(
            separator=self.separator,
            decimal=self.decimal,
            thousands=self.thousands,
            encoding=self.encoding,
            header=self.header is True,
            comment=self.comment,
            skip_rows=self.skip_rows,
            missing_values=[str(value) for value in _listed(self.missing_values)],
        )


def _listed(value: T | tuple[T, ...]) -> tuple[T, ...]:
    return value if isinstance(value, tuple) else (value,)
