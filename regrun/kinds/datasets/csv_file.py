"""A table of the user's own as a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, Strict

from regrun.errors import ConfigError
from regrun.kinds.datasets.base import DatasetSection, Held, Progress, Subset, Task
from regrun.suggest import did_you_mean

if TYPE_CHECKING:
    from regrun.data.dataset import Dataset
    from regrun.data.tables import Table


class CSV(Subset, DatasetSection):
    """A table of your own, with a header line; text columns are one-hot encoded."""

    origin: ClassVar[str] = "your file"
    name: Literal["csv"]
    path: str
    """The file; relative to the config file, else to the working directory."""
    target: str
    """The column to predict."""
    ignore: Annotated[tuple[str, ...], Strict(False)] = ()
    """Columns that are no features, such as an identifier."""
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What stands between two cells."""
    task: Task | None = None
    """Default: classification when the target is text, boolean or at most 20 different whole
    numbers."""
    test: Held = 0.2
    """Held out as the test set, unless `test_path` is given."""
    test_path: str | None = None
    """A second file with the same columns, used as the test set."""
    missing: Literal["refuse", "mean", "median", "most_frequent"] = "refuse"
    """Empty cells: refuse the file, or impute from the training rows (text columns always by the
    most frequent value)."""

    def load(self, progress: Progress | None = None) -> Dataset:
        """Numbers as they are, text and booleans one-hot encoded, missing cells as `missing` says.

        Split first, then encode: what is imputed and which categories there are is learnt from the
        training rows alone.
        """
        import torch

        from regrun.data.assemble import assemble
        from regrun.data.csv_file import read_csv
        from regrun.data.dataset import Split
        from regrun.data.encode import encode_features
        from regrun.data.files import find_file
        from regrun.data.splits import split
        from regrun.data.tables import table_targets

        table = read_csv(find_file(self.path, "path"), self.separator)
        columns = [str(column) for column in table.frame.columns]
        self._check_columns(columns, table)
        tested = None
        if self.test_path is not None:
            tested = read_csv(find_file(self.test_path, "test_path"), self.separator)
        features = [name for name in columns if name not in (self.target, *self.ignore)]
        if tested is not None:
            _check_test_columns([*features, self.target], table, tested)

        targets = table_targets(table, tested, self.target, self.task)
        test_targets = targets.train if targets.test is None else targets.test
        test = self.test if targets.test is None else targets.test
        parts = split(self.split_sizes(), targets.train, test, targets.class_names)
        encoded = encode_features(features, table, tested, parts, self.missing)
        validation = None
        if encoded.validation is not None and parts.validation is not None:
            inputs = torch.from_numpy(encoded.validation)
            validation = Split(inputs, targets.train[parts.validation])
        return assemble(
            self.name,
            targets.task,
            Split(torch.from_numpy(encoded.train), targets.train[parts.train]),
            validation,
            Split(torch.from_numpy(encoded.test), test_targets[parts.test]),
            standardize=self.standardizes(True),
            feature_names=encoded.names,
            class_names=targets.class_names,
            notes=encoded.notes,
        )

    def _check_columns(self, columns: list[str], table: Table) -> None:
        for key, names in (("target", (self.target,)), ("ignore", self.ignore)):
            for name in names:
                if name not in columns:
                    raise ConfigError.at(f"dataset.{key}", self._no_column(name, columns))
        if self.target in self.ignore:
            raise ConfigError.at("dataset.ignore", f'"{self.target}" is the target')
        if len(columns) <= 1 + len(set(self.ignore)):
            raise ConfigError.at(
                "dataset.path", f"{table.path}: no column is left apart from the target"
            )

    def _no_column(self, name: str, columns: list[str]) -> str:
        hint = did_you_mean(name, columns)
        shown = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
        alone = f"; one column: is {self.separator!r} the separator?" if len(columns) == 1 else ""
        return f'no column "{name}"{hint}; columns: {shown}{alone}'


def _check_test_columns(columns: list[str], table: Table, tested: Table) -> None:
    for name in columns:
        if name not in tested.frame.columns:
            raise ConfigError.at(
                "dataset.test_path",
                f'{tested.path}: no column "{name}", which {table.path} has',
            )
