"""Runs, sweeps and studies in Python: their tables, pictures and reports."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from regrun.errors import UsageError
from regrun.escapes import escaped_name
from regrun.numbers import interval
from regrun.settings import format_value as show

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from regrun.results import (
        AblationResult,
        CellSummary,
        PathResult,
        ReproductionResult,
        Result,
        RunSummary,
        SweepSummary,
    )

R = TypeVar("R", bound="Result")

MOST_ROWS = 60
"""Rows of a table in a notebook."""


@dataclass(frozen=True, repr=False)
class Stored:
    """A stored run, sweep or study, with its picture and its report."""

    directory: pathlib.Path

    def __fspath__(self) -> str:
        """Its directory, so that it can be given wherever a directory is asked for."""
        return str(self.directory)

    def __repr__(self) -> str:
        """One line: what it is, where, and how it ended."""
        return f"<{type(self).__name__} {escaped_name(str(self.directory))}: {self._words()}>"

    def _words(self) -> str:
        """How it ended, in a few words."""
        raise NotImplementedError

    def _table(self) -> pd.DataFrame:
        """What a notebook shows."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """What a notebook shows: a line and a table, in the notebook's own colours."""
        table = self._table()
        table = table.rename(columns=_visible, index=_visible).map(_visible)
        shown = table.to_html(float_format="{:.4g}".format, max_rows=MOST_ROWS, na_rep="")
        style = "overflow-x: auto; white-space: nowrap"
        return f'<p>{escape(repr(self))}</p><div style="{style}">{shown}</div>'

    def plot(self, kind: str | None = None, *, theme: Literal["light", "dark"] = "light") -> Figure:
        """Draw a picture, as `regrun plot` does.

        Args:
            kind: `axis`, `curves`, …, see `regrun plot --help`; default: the main picture.
            theme: `dark` for dark pages.

        Returns:
            A figure of matplotlib, which notebooks show. `figure.savefig(file)` stores it.

        Raises:
            UsageError: There is nothing to draw, or no picture of this kind.
            CorruptInputError: A file is damaged.
            StorageError: A file cannot be read.
        """
        from regrun.pictures.files import figure_of, find_picture
        from regrun.pictures.subject import load_subject

        subject = load_subject(self.directory)
        return figure_of(subject, find_picture(subject, kind), theme)

    def report(self, output: str | pathlib.Path | None = None) -> pathlib.Path:
        """Write one HTML page on it, as `regrun report` does.

        Args:
            output: The .html file to write; default: `report.html` in its directory.

        Returns:
            The file.

        Raises:
            UsageError: The file has another ending.
            CorruptInputError: A file is damaged.
            StorageError: The file cannot be written.
        """
        return write_report([self.directory], output)


def write_report(
    directories: Sequence[pathlib.Path], output: str | pathlib.Path | None = None
) -> pathlib.Path:
    """Write the report on some directories and return its file. Damage is raised."""
    from regrun.cli.report import write

    written, damaged = write(directories, None if output is None else pathlib.Path(output))
    if damaged:
        raise damaged[0]
    return written


@dataclass(frozen=True, repr=False)
class Run(Stored):
    """A stored run.

    Attributes:
        directory: Where it is stored.
        config: Its whole config, as plain data.
        summary: How it ended, and the metrics of the weights that were kept.

    >>> import regrun, tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     run = regrun.train(config, runs_dir=runs)
    ...     curve = run.metrics["train/loss"]
    >>> run.summary.status, list(curve.index)
    ('completed', [1, 2])
    """

    config: dict[str, Any]
    summary: RunSummary

    def _words(self) -> str:
        summary = self.summary
        shown = [f"{name} {value:.4g}" for name, value in _losses(summary.metrics)]
        ended = f"{summary.status} after {summary.epochs:,} epochs"
        return ", ".join([ended, *shown])

    def _table(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame({"value": pd.Series(self.summary.metrics, dtype=float)})

    @property
    def metrics(self) -> pd.DataFrame:
        """`metrics.jsonl` as a table: a row per evaluation, a column per tag, indexed by epoch.

        Raises:
            CorruptInputError: The file is damaged.
            StorageError: The file cannot be read.
        """
        from regrun.store.reading import load_stored_run

        found = load_stored_run(self.directory).metrics
        # Without a name, so that `epoch` is the column alone.
        return found.set_axis(found["epoch"].to_numpy(), axis=0) if "epoch" in found else found

    @property
    def test_examples(self) -> pd.DataFrame:
        """What the final weights give on each test example, a row per example.

        The column `loss` is on the original scale, and its mean is `test/loss`. For classes there
        is a column `correct`, whose mean is `test/accuracy`. The rows are in the order of the test
        set, so that those of two runs on the same test set can be compared one by one.

        >>> import regrun, tempfile
        >>> config = {
        ...     "dataset": {"name": "digits"},
        ...     "model": {"name": "linear"},
        ...     "optimizer": {"name": "sgd", "lr": 0.1},
        ...     "training": {"epochs": 1, "test_examples": True},
        ... }
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     examples = regrun.train(config, runs_dir=runs).test_examples
        >>> examples.shape, list(examples.columns)
        ((359, 2), ['loss', 'correct'])

        Raises:
            UsageError: The run stored none, since `training.test_examples` was off or it diverged.
            CorruptInputError: The file is damaged.
            StorageError: The file cannot be read.
        """
        import pandas as pd

        from regrun.store.reading import load_test_examples

        found = load_test_examples(self.directory)
        if found is None:
            raise UsageError(
                f"{self.directory}: no results on test examples here; "
                "set training.test_examples to have them"
            )
        columns = {"loss": found.loss, "correct": found.correct}
        return pd.DataFrame({name: each for name, each in columns.items() if each is not None})

    @property
    def histograms(self) -> pd.DataFrame:
        """Histograms of the parameters over training, a row per time and parameter.

        The columns are `epoch`, `step`, `parameter`, `role` (`weight`, `bias` or `norm`), `size`,
        `zeros` and `not_finite` (numbers of entries), `sparsity` (`zeros` / `size`), `low`, `high`,
        `mean` and `std` of the finite entries, `counts` (30 numbers) and `edges` (31): what
        `numpy.histogram(entries, bins=30)` gives.

        >>> import regrun, tempfile
        >>> config = {
        ...     "dataset": {"name": "digits"},
        ...     "model": {"name": "linear"},
        ...     "optimizer": {"name": "sgd", "lr": 0.1},
        ...     "training": {"epochs": 2, "histograms_every": 1},
        ... }
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     table = regrun.train(config, runs_dir=runs).histograms
        >>> table[["epoch", "parameter", "size"]].values.tolist()[:2]
        [[0, 'output.weight', 640], [0, 'output.bias', 10]]

        Raises:
            UsageError: The run stored none, since `training.histograms_every` was 0.
            CorruptInputError: The file is damaged.
            StorageError: The file cannot be read.
        """
        import pandas as pd

        from regrun.store.reading import load_stored_run

        counted = load_stored_run(self.directory).histograms
        if not counted:
            raise UsageError(
                f"{self.directory}: no histograms here; set training.histograms_every to have them"
            )
        return pd.DataFrame(
            {
                "epoch": each.epoch,
                "step": each.step,
                "parameter": name,
                "role": histogram.role,
                "size": histogram.size,
                "zeros": histogram.zeros,
                "not_finite": histogram.not_finite,
                "sparsity": histogram.sparsity,
                "low": histogram.low,
                "high": histogram.high,
                "mean": histogram.mean,
                "std": histogram.std,
                "counts": histogram.counts,
                "edges": histogram.edges,
            }
            for each in counted
            for name, histogram in each.parameters.items()
        )


@dataclass(frozen=True, repr=False)
class Sweep(Stored):
    """A stored sweep.

    Attributes:
        directory: Where it is stored.
        summary: Its cells, the best of them, and how the runs ended.

    >>> import regrun, tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     sweep = regrun.sweep(config, {"optimizer.weight_decay": [0, 1]}, seeds=2, runs_dir=runs)
    ...     count = len(sweep.runs)
    >>> list(sweep.cells.index), count
    (['optimizer.weight_decay=0', 'optimizer.weight_decay=1'], 4)
    """

    summary: SweepSummary

    def _words(self) -> str:
        summary, best = self.summary, self.summary.best
        parts = [f"{summary.completed:,} of {summary.runs:,} runs completed"]
        parts.append(f"{len(summary.cells):,} cells")
        if best is not None:
            chosen = escaped_name(setting_text(best.params)) or "the only cell"
            parts.append(f"best by {best.metric}: {chosen}")
        return ", ".join(parts)

    def _table(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(
            {
                **{key: show(value) for key, value in cell.params.items()},
                "seeds": cell.seeds,
                **{name: interval(found) for name, found in cell.metrics.items()},
            }
            for cell in self.summary.cells
        )

    @property
    def cells(self) -> pd.DataFrame:
        """A row per cell: its parameters, `seeds`, and the metrics, indexed by ``key=value``.

        Each metric ``M`` has the columns ``M``, ``M/low`` and ``M/high``: mean and 95% interval
        over seeds; no interval with one seed.
        """
        return cells_frame(self.summary.cells)

    @property
    def runs(self) -> pd.DataFrame:
        """A row per run: its parameters, `seed`, `status`, `epochs`, `run_dir`, and its metrics.

        Indexed by the names of the runs' directories, and read from there.

        Raises:
            CorruptInputError: A file is damaged.
            StorageError: A file cannot be read.
        """
        from regrun.analysis.sweeps import runs_frame
        from regrun.store.sweep_dir import SweepDir

        found = runs_frame(SweepDir(self.directory))
        return found.set_axis([pathlib.Path(each).name for each in found["run_dir"]], axis=0)


@dataclass(frozen=True, repr=False)
class Ablation(Sweep):
    """A stored ablation: its sweep, and the effect of each ingredient.

    Attributes:
        directory: Where it is stored.
        summary: The effects, and what a sweep has.

    >>> import regrun, tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003, "weight_decay": 3},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     found = regrun.ablate(config, seeds=2, runs_dir=runs)
    >>> list(found.effects.index), len(found.cells)
    (['weight_decay'], 2)
    """

    summary: AblationResult

    def _words(self) -> str:
        certain = [each.ingredient for each in self.summary.effects if each.left_out.is_certain]
        found = ", ".join(certain) or "none"
        return f"{super()._words()}, certain effects in company: {escaped_name(found)}"

    def _table(self) -> pd.DataFrame:
        import pandas as pd

        from regrun.cli.ablate import difference_text

        rows = {
            each.ingredient: {
                "in company": difference_text(each.left_out),
                "alone": difference_text(each.alone),
                "interaction": difference_text(each.interaction),
            }
            for each in self.summary.effects
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ingredient")

    @property
    def effects(self) -> pd.DataFrame:
        """A row per ingredient: what it does in company of the others, alone, and the difference.

        Each effect ``E`` of `left_out`, `alone` and `interaction` has the columns ``E``, ``E/low``,
        ``E/high`` and ``E/p``: mean, 95% interval, and p-value for all of the table together.
        `scale` is `log` where effects are ratios, with over without.
        """
        import pandas as pd

        rows = {}
        for effect in self.summary.effects:
            row: dict[str, Any] = {"scale": effect.left_out.scale}
            for name in ("left_out", "alone", "interaction"):
                found = getattr(effect, name)
                row |= {name: found.mean, f"{name}/low": found.low, f"{name}/high": found.high}
                row[f"{name}/p"] = found.adjusted_p
            rows[effect.ingredient] = row
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ingredient")


@dataclass(frozen=True, repr=False)
class Path(Stored):
    """A stored regularization path.

    Attributes:
        directory: Where it is stored.
        summary: Strengths, coefficients, metrics, and the strengths that are chosen.

    >>> import regrun, tempfile
    >>> config = {
    ...     "dataset": {"name": "diabetes"},
    ...     "model": {"name": "linear"},
    ...     "penalty": {"type": "l1", "strength": 1},
    ...     "optimizer": {"name": "sgd", "lr": 0.1},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     found = regrun.path(config, number=4, ratio=0.1, folds=2, runs_dir=runs)
    >>> found.coefficients.shape, found.summary.nonzeros[0]
    ((4, 10), 0)
    """

    summary: PathResult

    def _words(self) -> str:
        summary, best = self.summary, self.summary.best
        at = summary.strengths.index(best.strength)
        return (
            f"{len(summary.strengths):,} strengths, lowest cv/loss at {best.strength:.4g} with "
            f"{summary.nonzeros[at]:,} of {len(self.coefficients.columns):,} coefficients"
        )

    def _table(self) -> pd.DataFrame:
        return self.metrics

    @property
    def coefficients(self) -> pd.DataFrame:
        """A row per strength, a column per feature; of several outputs, `feature[output]`."""
        import numpy as np
        import pandas as pd

        from regrun.analysis.path import coefficient_names

        summary = self.summary
        return pd.DataFrame(
            [np.ravel(each) for each in summary.coefficients],
            index=pd.Index(summary.strengths, name="strength"),
            columns=coefficient_names(summary),
        )

    @property
    def metrics(self) -> pd.DataFrame:
        """A row per strength: how many coefficients are not zero, losses and the like."""
        import pandas as pd

        summary = self.summary
        columns = {"nonzeros": summary.nonzeros, **summary.metrics}
        return pd.DataFrame(columns, index=pd.Index(summary.strengths, name="strength"))


@dataclass(frozen=True, repr=False)
class Reproduction(Stored):
    """A published experiment, trained again.

    Attributes:
        directory: Where it is stored.
        summary: Published values, ours, and whether they agree.

    >>> import regrun
    >>> regrun.load_reproduction("nowhere")
    Traceback (most recent call last):
    ...
    regrun.errors.UsageError: nowhere is not the directory of a reproduction
    """

    summary: ReproductionResult

    def _words(self) -> str:
        return f"{escaped_name(self.summary.name)}: {self.summary.verdict}"

    def _table(self) -> pd.DataFrame:
        return self.claims

    @property
    def claims(self) -> pd.DataFrame:
        """A row per claim: `published`, `ours` with `low` and `high`, and the `verdict`."""
        import pandas as pd

        from regrun.results import Estimate

        rows = []
        for claim in self.summary.claims:
            ours = claim.ours
            row = {"claim": claim.claim, "published": claim.published, "verdict": claim.verdict}
            if isinstance(ours, Estimate):
                rows.append({**row, "ours": ours.mean, "low": ours.low, "high": ours.high})
            else:
                rows.append({**row, "ours": ours})
        columns = ["claim", "published", "ours", "low", "high", "verdict"]
        return pd.DataFrame(rows, columns=columns).set_index("claim")


def _losses(metrics: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """The losses that are known, and the accuracies, of each part."""
    return [
        (name, value)
        for name, value in metrics.items()
        if value is not None and name.partition("/")[2] in ("loss", "accuracy")
    ]


def _visible(value: Any) -> Any:
    return escaped_name(value) if isinstance(value, str) else value


def setting_text(params: Mapping[str, Any]) -> str:
    """``optimizer.lr=0.1, model.dropout=0.5``."""
    return ", ".join(f"{key}={show(value)}" for key, value in params.items())


def cells_frame(cells: Sequence[CellSummary]) -> pd.DataFrame:
    """A row per cell, indexed by its setting."""
    import pandas as pd

    rows = []
    for cell in cells:
        row = {**cell.params, "seeds": cell.seeds}
        for name, metric in cell.metrics.items():
            row |= {name: metric.mean, f"{name}/low": metric.low, f"{name}/high": metric.high}
        rows.append(row)
    return pd.DataFrame(rows, index=[setting_text(cell.params) for cell in cells])


def load_run(directory: str | PathLike[str]) -> Run:
    """Load a run.

    Args:
        directory: Where it is stored.

    Returns:
        The run, finished or not.

    Raises:
        UsageError: There is no run.
        CorruptInputError: A file is damaged.
        StorageError: A file cannot be read.

    >>> import regrun, tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     made = regrun.train(config, runs_dir=runs)
    ...     again = regrun.load_run(made.directory)
    >>> again.summary.epochs, again.config["optimizer"]["lr"]
    (2, 0.003)
    """
    from regrun.store.reading import load_stored_run

    path = pathlib.Path(directory)
    check_is_no_collection(path)
    stored = load_stored_run(path)
    return Run(path, stored.config, stored.result)


def check_is_no_collection(directory: pathlib.Path) -> None:
    """Raise UsageError for a sweep or study where a run is wanted: its files are no damaged run."""
    from regrun.store.study import read_study
    from regrun.store.sweep_dir import SweepDir

    if SweepDir(directory).config.is_file():
        raise UsageError(f"{directory} is a sweep, not a run; `sweep.runs` has those of load_sweep")
    study = read_study(directory)
    if study is not None:
        raise UsageError(f"{directory} is not a run: it was made by regrun.{study.verb}")


def load_sweep(directory: str | PathLike[str]) -> Sweep:
    """Load a finished sweep.

    Args:
        directory: Where it is stored.

    Returns:
        The sweep, with the table of its cells; of an ablation, an `Ablation`.

    Raises:
        UsageError: There is no sweep, or it has not ended.
        CorruptInputError: A file is damaged.
        StorageError: A file cannot be read.

    >>> import regrun, tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     made = regrun.sweep(config, {"optimizer.weight_decay": [0, 1]}, seeds=2, runs_dir=runs)
    ...     again = regrun.load_sweep(made.directory)
    >>> len(again.cells), again.summary.runs
    (2, 4)
    """
    from regrun.results import SweepSummary
    from regrun.store.study import AblationStudy, read_study
    from regrun.store.sweep_dir import SweepDir

    place = pathlib.Path(directory)
    files = SweepDir(place)
    if not files.config.is_file():
        raise UsageError(f"{directory} is not a sweep directory")
    if isinstance(read_study(place), AblationStudy):
        return load_ablation(place)
    return Sweep(place, _ended(place, SweepSummary, "sweep"))


def load_ablation(directory: str | PathLike[str]) -> Ablation:
    """Load a finished ablation.

    Args:
        directory: Where it is stored.

    Returns:
        The ablation, with the table of its effects.

    Raises:
        UsageError: There is no ablation, or it has not ended.
        CorruptInputError: A file is damaged.
        StorageError: A file cannot be read.

    >>> import regrun
    >>> regrun.load_ablation("nowhere")
    Traceback (most recent call last):
    ...
    regrun.errors.UsageError: nowhere is not the directory of an ablation
    """
    from regrun.results import AblationResult
    from regrun.store.study import AblationStudy

    place = _studied(directory, AblationStudy, "an ablation")
    return Ablation(place, _ended(place, AblationResult, "ablation"))


def load_path(directory: str | PathLike[str]) -> Path:
    """Load a finished regularization path.

    Args:
        directory: Where it is stored.

    Returns:
        The path, with the tables of its coefficients and metrics.

    Raises:
        UsageError: There is no path, or it has not ended.
        CorruptInputError: A file is damaged.
        StorageError: A file cannot be read.

    >>> import regrun
    >>> regrun.load_path("nowhere")
    Traceback (most recent call last):
    ...
    regrun.errors.UsageError: nowhere is not the directory of a path
    """
    from regrun.results import PathResult
    from regrun.store.study import PathStudy

    place = _studied(directory, PathStudy, "a path")
    return Path(place, _ended(place, PathResult, "path"))


def load_reproduction(directory: str | PathLike[str]) -> Reproduction:
    """Load a finished reproduction.

    Args:
        directory: Where it is stored.

    Returns:
        The reproduction, with the table of its claims.

    Raises:
        UsageError: There is no reproduction, or it has not ended.
        CorruptInputError: A file is damaged.
        StorageError: A file cannot be read.

    >>> import regrun
    >>> regrun.load_reproduction("nowhere")
    Traceback (most recent call last):
    ...
    regrun.errors.UsageError: nowhere is not the directory of a reproduction
    """
    from regrun.results import ReproductionResult
    from regrun.store.study import ReproductionStudy

    place = _studied(directory, ReproductionStudy, "a reproduction")
    return Reproduction(place, _ended(place, ReproductionResult, "reproduction"))


def _studied(directory: str | PathLike[str], kind: type, what: str) -> pathlib.Path:
    from regrun.store.study import read_study

    place = pathlib.Path(directory)
    if not isinstance(read_study(place) if place.is_dir() else None, kind):
        raise UsageError(f"{directory} is not the directory of {what}")
    return place


def _ended(directory: pathlib.Path, kind: type[R], what: str) -> R:
    """Its summary. Raises UsageError when it has not ended."""
    from regrun.store.reading import load_result
    from regrun.store.run_dir import RunDir

    found = load_result(RunDir(directory).summary, kind)
    if found is None:
        command = f"regrun resume {shlex.quote(str(directory))}"
        raise UsageError(f"{directory}: the {what} has not ended; {command} carries it on")
    return found
