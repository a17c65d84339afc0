"""A table of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, Strict

from regrun.errors import ConfigError
from regrun.kinds.datasets.base import DatasetSection, Held, Progress, Subset, Task
from regrun.suggest import did_you_mean

if TYPE_CHECKING:
    from regrun.data.csv_file import Table
    from regrun.data.dataset import Dataset


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
        from regrun.data.csv_file import read_csv, table_targets
        from regrun.data.dataset import Examples, Split
        from regrun.data.encode import encode_features
        from regrun.data.files import find_file

        tables = [
            read_csv(find_file(path, key), self.separator)
            for key, path in (("path", self.path), ("test_path", self.test_path))
            if path is not None
        ]
        columns = [str(column) for column in tables[0].frame.columns]
        self._check_columns(columns, tables[0])
        features = [name for name in columns if name not in (self.target, *self.ignore)]
        for name in [*features, self.target]:
            if name not in tables[-1].frame.columns:
                raise ConfigError.at(
                    "dataset.test_path",
                    f'{tables[-1].path}: no column "{name}", which {tables[0].path} has',
                )

        task, found, classes = table_targets(tables, self.target, self.task)
        targets = [torch.from_numpy(values) for values in found]
        held_out = self.test if self.test_path is None else targets[1]
        parts = self._parts(targets[0], held_out, classes)
        matrices, names, notes = encode_features(features, tables, parts, self.missing)
        splits = [
            Split(torch.from_numpy(matrix), values)
            for matrix, values in zip(matrices, targets, strict=True)
        ]
        examples = Examples(
            task,
            splits[0],
            self.test if self.test_path is None else splits[1],
            feature_names=names,
            class_names=classes,
            notes=notes,
        )
        return assemble(self.name, examples, parts, standardize=self._standardizes(images=False))

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
