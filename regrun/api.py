"""The Python side of the commands."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regrun.config.load import config_from_mapping
from regrun.errors import CorruptInputError, DataWarning, UsageError
from regrun.kinds.given import giving
from regrun.settings import format_value as show

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import nn

    from regrun.execution.predict import Predictor
    from regrun.results import (
        AblationResult,
        CellSummary,
        DataCard,
        Inspection,
        PathResult,
        ReproductionResult,
        RunSummary,
        SweepSummary,
    )


@dataclass(frozen=True, repr=False)
class Run:
    """A stored run. In a notebook, it shows its metrics."""

    directory: Path
    config: dict[str, Any]
    summary: RunSummary

    def __repr__(self) -> str:
        summary = self.summary
        shown = [f"{name} {value:.4g}" for name, value in _losses(summary.metrics)]
        ended = f"{summary.status} after {summary.epochs:,} epochs"
        return f"<Run {self.directory}: {', '.join([ended, *shown])}>"

    def _repr_html_(self) -> str:
        import pandas as pd

        table = pd.DataFrame({"value": pd.Series(self.summary.metrics, dtype=float)})
        return f"<p>{escape(repr(self))}</p>{table.to_html(float_format='{:.4g}'.format)}"

    @property
    def metrics(self) -> pd.DataFrame:
        """`metrics.jsonl` as a table: a row per evaluation, a column per tag."""
        from regrun.store.reading import load_stored_run

        return load_stored_run(self.directory).metrics

    @property
    def test_examples(self) -> pd.DataFrame:
        """What the final weights give on each test example, a row per example.

        The column `loss` is on the original scale, and its mean is `test/loss`. For classes there
        is a column `correct`, whose mean is `test/accuracy`. The rows are in the order of the test
        set, so that those of two runs on the same test set can be compared one by one.

        >>> import tempfile
        >>> config = {
        ...     "dataset": {"name": "digits"},
        ...     "model": {"name": "linear"},
        ...     "optimizer": {"name": "sgd", "lr": 0.1},
        ...     "training": {"epochs": 1, "test_examples": True},
        ... }
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     examples = train(config, runs_dir=runs).test_examples
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

        >>> import tempfile
        >>> config = {
        ...     "dataset": {"name": "digits"},
        ...     "model": {"name": "linear"},
        ...     "optimizer": {"name": "sgd", "lr": 0.1},
        ...     "training": {"epochs": 2, "histograms_every": 1},
        ... }
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     table = train(config, runs_dir=runs).histograms
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


def train(
    config: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    model: type[nn.Module] | None = None,
) -> Run:
    """Train one run, as `regrun train` does.

    config: a file, or the same content as a mapping. overrides: dotted key → value. model: the
    class of a network of your own, whose arguments are keys of `model`; see `regrun guide
    your-network`. Raises the errors of `regrun.errors`.
    """
    from regrun.execution.train import train_run

    with giving(model):
        loaded = config_from_mapping(config, overrides or {})
        summary = train_run(loaded, runs_dir=Path(runs_dir), device=device)
    _warn(summary.data)
    return load_run(summary.run_dir)


@dataclass(frozen=True, repr=False)
class Sweep:
    """A stored sweep. In a notebook, it shows its cells."""

    directory: Path
    summary: SweepSummary

    def __repr__(self) -> str:
        summary, best = self.summary, self.summary.best
        parts = [f"{summary.completed:,} of {summary.runs:,} runs completed"]
        parts.append(f"{len(summary.cells):,} cells")
        if best is not None:
            chosen = ", ".join(f"{key}={show(value)}" for key, value in best.params.items())
            parts.append(f"best by {best.metric}: {chosen or 'the only cell'}")
        return f"<Sweep {self.directory}: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        table = self.cells.to_html(index=False, float_format="{:.4g}".format, max_rows=60)
        return f"<p>{escape(repr(self))}</p>{table}"

    @property
    def cells(self) -> pd.DataFrame:
        """A row per cell: its parameters, `seeds`, and the metrics.

        Each metric ``M`` has the columns ``M``, ``M/low`` and ``M/high``: mean and 95% interval
        over seeds; no interval with one seed.
        """
        return _cells_frame(self.summary.cells)

    @property
    def runs(self) -> pd.DataFrame:
        """A row per run: its parameters, `seed`, `status`, `epochs`, `run_dir`, and its metrics.

        Read from the sweep's directory. Raises CorruptInputError, StorageError.
        """
        from regrun.analysis.sweeps import runs_frame
        from regrun.store.sweep_dir import SweepDir

        return runs_frame(SweepDir(self.directory))


def _losses(metrics: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """The losses that are known, and the accuracies, of each part."""
    return [
        (name, value)
        for name, value in metrics.items()
        if value is not None and name.partition("/")[2] in ("loss", "accuracy")
    ]


def _cells_frame(cells: Sequence[CellSummary]) -> pd.DataFrame:
    """A row per cell."""
    import pandas as pd

    rows = []
    for cell in cells:
        row = {**cell.params, "seeds": cell.seeds}
        for name, metric in cell.metrics.items():
            row |= {name: metric.mean, f"{name}/low": metric.low, f"{name}/high": metric.high}
        rows.append(row)
    return pd.DataFrame(rows)


def sweep(
    config: str | Path | Mapping[str, Any],
    axes: Mapping[str, Sequence[Any]] | None = None,
    *,
    seeds: int | None = None,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    workers: int | None = 0,
    model: type[nn.Module] | None = None,
) -> Sweep:
    """Train many runs as few stacks, as `regrun sweep` does; runs that diverge or fail are counted.

    config: a file, or the same content as a mapping. axes: dotted key → values, in addition to the
    config's own `sweep.grid`. seeds: of every cell; default: the config's. workers: additional
    processes; None: as many as pay off. They import the program's main module again, so guard what
    it does with ``if __name__ == "__main__":``. model: as in `train`; such a sweep has no workers.
    Raises the errors of `regrun.errors`.
    """
    from regrun.sweeps.run import Options, run_sweep

    overrides = {} if seeds is None else {"sweep.seeds": seeds}
    with giving(model):
        loaded = config_from_mapping(config, overrides, axes=axes)
        if loaded.config.sweep is None:
            raise UsageError("nothing to sweep: give axes, seeds, or a config with a sweep section")
        options = Options(device=device, workers=_workers(workers, model))
        summary = run_sweep(loaded, runs_dir=Path(runs_dir), options=options)
    _warn(summary.data)
    return Sweep(Path(summary.sweep_dir), summary)


def resume(
    directory: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | None = None,
    device: str | None = None,
    workers: int | None = 0,
    model: type[nn.Module] | None = None,
) -> Run | Sweep:
    """Carry on a run or sweep, or give a finished one more, as `regrun resume` does.

    overrides: dotted key → value: more `training.epochs` of a run, more `sweep.trials` of a sweep,
    or where the data are now. axes: of a sweep, axis → all its values, the new ones too. seeds: of
    every cell of a sweep. device: default: the one it was on. workers: as in `sweep`. model:
    the class that it was begun with, if it was. Raises the errors of `regrun.errors`.
    """
    from regrun.execution.train import resume_run
    from regrun.store.study import read_study
    from regrun.store.sweep_dir import SweepDir
    from regrun.sweeps.run import Options, resume_sweep

    path = Path(directory)
    study = read_study(path)
    if study is not None and study.verb != "ablate":
        raise UsageError(f"{path} is a study: regrun resume {shlex.quote(str(path))} carries it on")
    changes = {**(overrides or {}), **({} if seeds is None else {"sweep.seeds": seeds})}
    reload = partial(config_from_mapping, overrides=changes, axes=axes)
    if not SweepDir(path).config.is_file():
        if axes or seeds is not None:
            raise UsageError(f"{path}: only a sweep has axes and seeds")
        with giving(model):
            run = resume_run(path, reload=reload if changes else None, device=device)
        _warn(run.data)
        return load_run(path)
    options = Options(device=device or "auto", workers=_workers(workers, model))
    with giving(model):
        summary = resume_sweep(
            path, reload=reload if changes or axes else None, seeds=seeds, options=options
        )
    _warn(summary.data)
    return Sweep(path, summary)


def _warn(card: DataCard | None) -> None:
    """Issue the notes on the data as warnings at the line that called `train` and the like."""
    for note in card.notes if card else ():
        warnings.warn(note, DataWarning, stacklevel=3)


def _workers(workers: int | None, model: type[nn.Module] | None) -> int | None:
    """None of them where there is a class, which other processes do not have."""
    if model is not None and workers:
        raise UsageError(
            f"workers={workers}: other processes do not have the class {model.__name__}; leave "
            "workers out, or put the class into a file and name that in REGRUN_PLUGINS"
        )
    return workers if model is None else 0


def plot(
    directory: str | Path, kind: str | None = None, *, theme: Literal["light", "dark"] = "light"
) -> Figure:
    """A picture of a run, sweep, ablation, path or reproduction, as `regrun plot` draws it.

    Args:
        directory: Where it is stored.
        kind: `axis`, `curves`, …, see `regrun plot --help`; default: the main picture.
        theme: `dark` for dark pages.

    Returns:
        A figure of matplotlib, which notebooks show. `figure.savefig(file)` stores it.

    Raises:
        UsageError: There is nothing to draw, or no picture of this kind.
        CorruptInputError: A file is damaged.
        StorageError: A file cannot be read.

    >>> import tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     run = train(config, runs_dir=runs)
    ...     figure = plot(run.directory, "curves")
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['epoch']
    """
    from regrun.pictures.files import figure_of, find_picture
    from regrun.pictures.subject import load_subject

    subject = load_subject(Path(directory))
    return figure_of(subject, find_picture(subject, kind), theme)


def load_run(directory: str | Path) -> Run:
    """A run from its directory. Raises UsageError when there is none, CorruptInputError."""
    from regrun.store.reading import load_stored_run

    stored = load_stored_run(Path(directory))
    return Run(Path(directory), stored.config, stored.result)


def load_sweep(directory: str | Path) -> Sweep:
    """A finished sweep from its directory.

    Args:
        directory: Where it is stored.

    Returns:
        The sweep, with the table of its cells.

    Raises:
        UsageError: There is no sweep, or it has not ended.
        CorruptInputError: A file is damaged.
        StorageError: A file cannot be read.

    >>> import tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     made = sweep(config, {"optimizer.weight_decay": [0, 1]}, seeds=2, runs_dir=runs)
    ...     again = load_sweep(made.directory)
    >>> len(again.cells), again.summary.runs
    (2, 4)
    """
    from regrun.results import SweepSummary
    from regrun.store.reading import load_result
    from regrun.store.sweep_dir import SweepDir

    files = SweepDir(Path(directory))
    if not files.config.is_file():
        raise UsageError(f"{directory} is not a sweep directory")
    summary = load_result(files.summary, SweepSummary)
    if summary is None:
        command = f"regrun resume {shlex.quote(str(directory))}"
        raise UsageError(f"{directory}: the sweep has not ended; {command} carries it on")
    return Sweep(Path(directory), summary)


def path(
    config: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    number: int = 100,
    ratio: float = 1e-3,
    folds: int = 5,
    runs_dir: str | Path = "runs",
    device: str = "auto",
) -> PathResult:
    """Work out a regularization path, as `regrun path` does.

    Args:
        config: A file, or the same content as a mapping: a linear model with one penalty.
        overrides: Dotted key → value.
        number: How many strengths.
        ratio: The weakest over the strongest.
        folds: Parts of the cross-validation.
        runs_dir: Where it is stored.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Returns:
        Coefficients and metrics at each strength.

    Raises:
        RegrunError: See `regrun.errors`.

    >>> import tempfile
    >>> config = {
    ...     "dataset": {"name": "diabetes"},
    ...     "model": {"name": "linear"},
    ...     "loss": "half_mse",
    ...     "penalty": {"type": "l1", "strength": 1, "method": "proximal"},
    ...     "optimizer": {"name": "fista"},
    ...     "training": {"batch_size": "full"},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     found = path(config, number=4, ratio=0.1, folds=2, runs_dir=runs)
    >>> found.nonzeros[0], len(found.strengths)
    (0, 4)
    """
    from regrun.studies.path import run_path

    loaded = config_from_mapping(config, overrides or {})
    result = run_path(
        loaded, runs_dir=Path(runs_dir), number=number, ratio=ratio, folds=folds, device=device
    )
    _warn(result.data)
    return result


def ablate(
    config: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    seeds: int = 5,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    model: type[nn.Module] | None = None,
) -> AblationResult:
    """Measure what each regularizer of a config does, as `regrun ablate` does.

    Args:
        config: A file, or the same content as a mapping.
        overrides: Dotted key → value.
        seeds: Of every combination.
        runs_dir: Where the runs are stored.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        model: The class of a network of your own, as in `train`.

    Returns:
        The effects, and the sweep behind them; `load_sweep(result.sweep_dir)` has its table.

    Raises:
        RegrunError: See `regrun.errors`.

    >>> import tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003, "weight_decay": 3},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     found = ablate(config, seeds=2, runs_dir=runs)
    >>> [each.ingredient for each in found.effects]
    ['weight_decay']
    """
    from regrun.execution.observer import Observer
    from regrun.studies.ablation import ablate as run_ablation
    from regrun.sweeps.run import Options

    with giving(model):
        loaded = config_from_mapping(config, overrides or {})
        result = run_ablation(
            loaded,
            runs_dir=Path(runs_dir),
            seeds=seeds,
            options=Options(device, workers=_workers(None, model)),
            observer=Observer(),
        )
    _warn(result.data)
    return result


def reproduce(
    name: str, *, seeds: int | None = None, runs_dir: str | Path = "runs", device: str = "auto"
) -> ReproductionResult:
    """Train a published experiment again, as `regrun reproduce` does.

    Args:
        name: One of `regrun list reproductions`.
        seeds: Of each method; default: the reproduction's own.
        runs_dir: Where the runs are stored.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Returns:
        Published values, ours, and whether they agree.

    Raises:
        RegrunError: See `regrun.errors`.

    >>> reproduce("nothing like it")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    regrun.errors.UsageError: ...
    """
    from regrun.studies.reproductions.registry import find
    from regrun.studies.reproductions.run import reproduce as run_reproduction
    from regrun.sweeps.run import Options

    return run_reproduction(
        name, find(name), runs_dir=Path(runs_dir), seeds=seeds, options=Options(device)
    )


def inspect(
    config: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    device: str = "auto",
    model: type[nn.Module] | None = None,
) -> Inspection:
    """Everything about a config that is known without training, as `regrun inspect` shows it.

    Args:
        config: A file, or the same content as a mapping.
        overrides: Dotted key → value.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        model: The class of a network of your own, as in `train`.

    Returns:
        Model, parameters, update rule, data and memory.

    Raises:
        RegrunError: See `regrun.errors`.

    >>> found = inspect({
    ...     "dataset": {"name": "digits"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.1},
    ... })
    >>> found.model.parameters, found.data.task
    (650, 'classification')
    """
    from regrun.execution.describe import describe

    with giving(model):
        return describe(config_from_mapping(config, overrides or {}), device)


def compare(*directories: str | Path) -> pd.DataFrame:
    """Compare finished runs, as `regrun compare` does.

    Args:
        *directories: Runs, sweeps, or folders of them.

    Returns:
        A row per setting: the keys that differ, `seeds`, and of each metric mean and 95% interval,
        as in `Sweep.cells`. Runs that are not finished are left out, with a warning.

    Raises:
        UsageError: There is no finished run.
        CorruptInputError: A file is damaged.
        StorageError: A file cannot be read.

    >>> import tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     for decay in (0, 1):
    ...         run = train(config, {"optimizer.weight_decay": decay}, runs_dir=runs)
    ...     table = compare(runs)
    >>> sorted(table["optimizer.weight_decay"]), table["seeds"].tolist()
    ([0.0, 1.0], [1, 1])
    """
    from regrun.analysis.cells import group_by_setting
    from regrun.analysis.comparison import runs_to_compare
    from regrun.analysis.sweeps import StoredSweep
    from regrun.store.sweep_dir import SweepDir

    paths = [Path(directory) for directory in directories]
    if len(paths) == 1 and SweepDir(paths[0]).config.is_file():
        return _cells_frame([cell.summarize() for cell in StoredSweep(SweepDir(paths[0])).cells])
    damaged: list[CorruptInputError] = []
    runs = runs_to_compare(paths, damaged.append)
    if damaged:
        raise damaged[0]
    finished = [run for run in runs if run.summary is not None]
    if not finished:
        raise UsageError(f"no finished run in {', '.join(map(str, paths)) or 'no directory'}")
    if len(finished) < len(runs):
        count = len(runs) - len(finished)
        noun = "run that is" if count == 1 else "runs that are"
        warnings.warn(f"left out: {count:,} {noun} not finished", DataWarning, stacklevel=2)
    return _cells_frame([cell.summarize() for cell in group_by_setting(finished)])


def load_model(
    directory: str | Path,
    average: Literal["ema", "swa"] | None = None,
    *,
    model: type[nn.Module] | None = None,
) -> nn.Module:
    """The trained network of a run as an ordinary module, in evaluation mode, on the CPU.

    Inputs are as the network saw them in training: standardised, images as floats. The attribute
    `preprocessing` of the module says how raw ones become such; `load_predictor` applies it. For
    two classes the one output is the logit of the second class, unless the loss needs two.
    average: with these averages of the weights instead. model: the class
    that the run was trained with, if it was given one. Raises UsageError when the run stored no
    such weights.
    """
    from regrun.execution.restore import restore_model

    with giving(model):
        return restore_model(Path(directory), average)


def load_predictor(
    directory: str | Path,
    average: Literal["ema", "swa"] | None = None,
    device: str = "auto",
    *,
    model: type[nn.Module] | None = None,
) -> Predictor:
    """The trained network of a run, or those of the best cell of a sweep, for raw data.

    It takes files, DataFrames and arrays as training did, applies the stored preprocessing, and
    gives class names and probabilities, or numbers on the original scale. Nothing but the directory
    is needed. average: with these averages of the weights instead. model: as in `load_model`.
    Raises UsageError when there are no weights, CorruptInputError.
    """
    from regrun.sweeps import ensemble

    with giving(model):
        return ensemble.load_predictor(Path(directory), average, device)
