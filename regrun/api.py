"""The Python side of the commands."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regrun import stored
from regrun.config.load import config_from_mapping
from regrun.errors import CorruptInputError, DataWarning, UsageError
from regrun.kinds.given import giving
from regrun.stored import (
    Ablation,
    Reproduction,
    Run,
    Stored,
    Sweep,
    cells_frame,
    check_is_no_collection,
    load_run,
    write_report,
)
from regrun.sweeps.executor import Executor, OnRay

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import nn

    from regrun.config.changes import Reload
    from regrun.execution.observer import Observer
    from regrun.execution.predict import Predictor
    from regrun.results import DataCard, Inspection
    from regrun.store.study import Study
    from regrun.sweeps.run import Options


def train(
    config: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    threads: int | None = None,
    model: type[nn.Module] | None = None,
    progress: bool | None = None,
) -> Run:
    """Train one run, as `regrun train` does.

    Args:
        config: A file, or the same content as a mapping.
        overrides: Dotted key → value.
        runs_dir: Where the run gets a directory of its own.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads to compute with; default: as many as pay off.
        model: The class of a network of your own, whose arguments are keys of `model`; see
            `regrun guide your-network`.
        progress: Whether to show how far it is; default: in notebooks and on terminals.

    Returns:
        The run, with its curves, pictures and report.

    Raises:
        RegrunError: See `regrun.errors`.

    >>> import tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     run = train(config, {"training.epochs": 3}, runs_dir=runs)
    >>> run.summary.epochs
    3
    """
    from regrun.execution.train import train_run

    with _watching(progress, model) as observer:
        loaded = config_from_mapping(config, overrides or {})
        summary = train_run(
            loaded, runs_dir=Path(runs_dir), device=device, threads=threads, observer=observer
        )
    _warn(summary.data)
    return load_run(summary.run_dir)


def sweep(
    config: str | Path | Mapping[str, Any],
    axes: Mapping[str, Sequence[Any]] | None = None,
    *,
    seeds: int | None = None,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    threads: int | None = None,
    workers: int | None = 0,
    executor: Executor = "local",
    ray_address: str | None = None,
    ray_gpus: float | None = None,
    ray_resources: Mapping[str, float] | None = None,
    model: type[nn.Module] | None = None,
    progress: bool | None = None,
) -> Sweep:
    """Train many runs as few stacks, as `regrun sweep` does; runs that diverge or fail are counted.

    Args:
        config: A file, or the same content as a mapping.
        axes: Dotted key → values, in addition to the config's own `sweep.grid`.
        seeds: Of every cell; default: the config's.
        runs_dir: Where the sweep gets a directory of its own.
        device: `auto`, `cpu`, `cuda` for as many GPUs as there are workers, `cuda:N`, or several
            as `cuda:0,1`.
        threads: CPU threads to compute with, of each worker; default: as many as pay off.
        workers: Additional processes; None: as many as pay off. They import the program's main
            module again, so guard what it does with ``if __name__ == "__main__":``.
        executor: `ray` for a cluster; see `regrun guide many-machines`.
        ray_address: `HOST:PORT` or `auto`; default: RAY_ADDRESS, else a Ray of its own.
        ray_gpus: How much of a GPU a stack has; default: 1 on nodes with GPUs.
        ray_resources: What else a stack takes of its node, by name.
        model: As in `train`; such a sweep has no workers, and is not trained on a cluster.
        progress: As in `train`.

    Returns:
        The sweep, with the tables of its cells and runs.

    Raises:
        RegrunError: See `regrun.errors`.

    >>> import tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     found = sweep(config, {"optimizer.weight_decay": [0, 1, 3]}, seeds=2, runs_dir=runs)
    >>> found.summary.runs, list(found.cells.index)[1]
    (6, 'optimizer.weight_decay=1')
    """
    from regrun.sweeps.run import Options, run_sweep

    ray = OnRay.asked_for(executor, ray_address, ray_gpus, ray_resources)
    overrides = {} if seeds is None else {"sweep.seeds": seeds}
    with _watching(progress, model) as observer:
        loaded = config_from_mapping(config, overrides, axes=axes)
        if loaded.config.sweep is None:
            raise UsageError("nothing to sweep: give axes, seeds, or a config with a sweep section")
        options = Options(device, workers=_workers(workers, model, ray), threads=threads, ray=ray)
        summary = run_sweep(loaded, runs_dir=Path(runs_dir), options=options, observer=observer)
    _warn(summary.data)
    return Sweep(Path(summary.sweep_dir), summary)


def resume(
    directory: str | PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    workers: int | None = 0,
    executor: Executor = "local",
    ray_address: str | None = None,
    ray_gpus: float | None = None,
    ray_resources: Mapping[str, float] | None = None,
    model: type[nn.Module] | None = None,
    progress: bool | None = None,
) -> Run | Sweep | stored.Path | Reproduction:
    """Carry on a run, sweep or study, or give a finished one more, as `regrun resume` does.

    Args:
        directory: Where it is stored.
        overrides: Dotted key → value: more `training.epochs` of a run, more `sweep.trials` of a
            sweep, or where the data are now.
        axes: Of a sweep, axis → all its values, the new ones too.
        seeds: Of every cell of a sweep.
        device: As in `train`, and for a sweep as in `sweep`; default: as it was started.
        threads: Default: as many as it was started with.
        workers: As in `sweep`.
        executor: As in `sweep`, and so the `ray_…`.
        ray_address: `HOST:PORT` or `auto`.
        ray_gpus: How much of a GPU a stack has.
        ray_resources: What else a stack takes of its node.
        model: The class that it was begun with, if it was.
        progress: As in `train`.

    Returns:
        What `train`, `sweep`, `ablate`, `path` or `reproduce` returns.

    Raises:
        RegrunError: See `regrun.errors`.

    >>> import tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     run = train(config, runs_dir=runs)
    ...     longer = resume(run.directory, {"training.epochs": 5})
    >>> longer.summary.epochs
    5
    """
    from regrun.execution.train import resume_run
    from regrun.store.study import read_study
    from regrun.store.sweep_dir import SweepDir
    from regrun.sweeps.run import Options, resume_sweep

    ray = OnRay.asked_for(executor, ray_address, ray_gpus, ray_resources)
    path = Path(directory)
    study = read_study(path)
    changes = {**(overrides or {}), **({} if seeds is None else {"sweep.seeds": seeds})}
    reload = partial(config_from_mapping, overrides=changes, axes=axes)
    if study is None and not SweepDir(path).config.is_file():
        if axes or seeds is not None:
            raise UsageError(f"{path}: only a sweep has axes and seeds")
        if ray is not None:
            raise UsageError(f"executor=ray: {path} is a run, trained in one process")
        with _watching(progress, model) as observer:
            run = resume_run(
                path,
                reload=reload if changes else None,
                device=device,
                threads=threads,
                observer=observer,
            )
        _warn(run.data)
        return load_run(path)
    options = Options(
        device or "auto", workers=_workers(workers, model, ray), threads=threads, ray=ray
    )
    changed = reload if changes or axes else None
    with _watching(progress, model) as observer:
        if study is not None:
            return _resume_study(path, study, changed, seeds, device, options, observer)
        summary = resume_sweep(
            path, reload=changed, seeds=seeds, options=options, observer=observer
        )
    _warn(summary.data)
    return Sweep(path, summary)


def _resume_study(
    path: Path,
    study: Study,
    reload: Reload | None,
    seeds: int | None,
    device: str | None,
    options: Options,
    observer: Observer,
) -> Ablation | stored.Path | Reproduction:
    from regrun.store.study import AblationStudy, PathStudy
    from regrun.studies.ablation import resume_ablation
    from regrun.studies.path import resume_path
    from regrun.studies.reproductions.registry import find
    from regrun.studies.reproductions.run import resume_reproduction

    if isinstance(study, AblationStudy):
        found = resume_ablation(
            path, study, reload=reload, seeds=seeds, options=options, observer=observer
        )
        return Ablation(path, found)
    if seeds is not None:
        raise UsageError(f"{path}: only a sweep or an ablation has seeds")
    if isinstance(study, PathStudy):
        if options.ray is not None:
            raise UsageError(f"executor=ray: {path} is a path, trained in one process")
        solved = resume_path(
            path, study, reload=reload, device=device, threads=options.threads, observer=observer
        )
        return stored.Path(path, solved)
    if reload is not None:
        raise UsageError(f"{path} is a reproduction, whose settings are its own")
    trained = resume_reproduction(
        path,
        study,
        find(study.name),
        device=device,
        threads=options.threads,
        observer=observer,
        ray=options.ray,
    )
    return Reproduction(path, trained)


def _workers(
    workers: int | None, model: type[nn.Module] | None, ray: OnRay | None = None
) -> int | None:
    """None of them where there is a class, which other processes do not have."""
    where = f"workers={workers}" if workers else "executor=ray" if ray is not None else ""
    if model is not None and where:
        raise UsageError(
            f"{where}: other processes do not have the class {model.__name__}; leave "
            f"{where.partition('=')[0]} out, or put the class into a file and name that in "
            "REGRUN_PLUGINS"
        )
    if workers and ray is not None:
        raise UsageError(f"workers={workers}: with executor=ray, its nodes have the workers")
    return workers if model is None else 0


@contextmanager
def _watching(progress: bool | None, model: type[nn.Module] | None = None) -> Iterator[Observer]:
    """What shows progress; within it, configs may name the class of a network.

    progress: None: in notebooks and on terminals; True: everywhere.
    """
    from regrun.cli.notebook import watching

    with giving(model), watching(progress) as observer:
        yield observer


def _warn(card: DataCard | None) -> None:
    """Issue the notes on the data as warnings at the line that called `train` and the like."""
    for note in card.notes if card else ():
        warnings.warn(note, DataWarning, stacklevel=3)


def plot(
    directory: str | PathLike[str],
    kind: str | None = None,
    *,
    theme: Literal["light", "dark"] = "light",
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
    return Stored(Path(directory)).plot(kind, theme=theme)


def report(*directories: str | PathLike[str], output: str | Path | None = None) -> Path:
    """Write one HTML page on runs, sweeps and studies, as `regrun report` does.

    Args:
        *directories: Where they are stored, or folders of runs.
        output: The .html file to write; default: `report.html` in the first directory.

    Returns:
        The file.

    Raises:
        UsageError: There is nothing to report on, or the file has another ending.
        CorruptInputError: A file is damaged; the page is on the rest, if there is any.
        StorageError: The file cannot be written.

    >>> import tempfile
    >>> config = {
    ...     "dataset": {"name": "synthetic_linear"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.003},
    ...     "training": {"epochs": 2},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     run = train(config, runs_dir=runs)
    ...     page = report(run.directory)
    >>> page.name
    'report.html'
    """
    if not directories:
        raise UsageError("nothing to report on: name a directory of a run, sweep or study")
    return write_report([Path(each) for each in directories], output)


def path(
    config: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    number: int = 100,
    ratio: float = 1e-3,
    folds: int = 5,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    threads: int | None = None,
    progress: bool | None = None,
) -> stored.Path:
    """Work out a regularization path, as `regrun path` does.

    Args:
        config: A file, or the same content as a mapping: a linear model with one penalty.
        overrides: Dotted key → value.
        number: How many strengths.
        ratio: The weakest over the strongest.
        folds: Parts of the cross-validation.
        runs_dir: Where it is stored.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads to compute with; default: as many as pay off.
        progress: As in `train`.

    Returns:
        The path, with the tables of its coefficients and metrics.

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
    >>> found.coefficients.shape, found.summary.converged
    ((4, 10), True)
    """
    from regrun.studies.path import path_config, run_path, unused_notes

    with _watching(progress) as observer:
        loaded = config_from_mapping(config, overrides or {})
        result = run_path(
            loaded,
            runs_dir=Path(runs_dir),
            number=number,
            ratio=ratio,
            folds=folds,
            device=device,
            threads=threads,
            observer=observer,
        )
    _warn(result.data)
    for note in unused_notes(loaded.config, path_config(loaded)):
        warnings.warn(note, DataWarning, stacklevel=2)
    return stored.Path(Path(result.path_dir), result)


def ablate(
    config: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    seeds: int = 5,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    threads: int | None = None,
    executor: Executor = "local",
    ray_address: str | None = None,
    ray_gpus: float | None = None,
    ray_resources: Mapping[str, float] | None = None,
    model: type[nn.Module] | None = None,
    progress: bool | None = None,
) -> Ablation:
    """Measure what each regularizer of a config does, as `regrun ablate` does.

    Args:
        config: A file, or the same content as a mapping.
        overrides: Dotted key → value.
        seeds: Of every combination.
        runs_dir: Where the runs are stored.
        device: `auto`, `cpu`, `cuda` for all GPUs, `cuda:N`, or several as `cuda:0,1`.
        threads: CPU threads to compute with; default: as many as pay off.
        executor: As in `sweep`, and so the `ray_…`.
        ray_address: `HOST:PORT` or `auto`.
        ray_gpus: How much of a GPU a stack has.
        ray_resources: What else a stack takes of its node.
        model: The class of a network of your own, as in `train`.
        progress: As in `train`.

    Returns:
        The effects, and the sweep behind them.

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
    >>> list(found.effects.index)
    ['weight_decay']
    """
    from regrun.studies.ablation import ablate as run_ablation
    from regrun.sweeps.run import Options

    ray = OnRay.asked_for(executor, ray_address, ray_gpus, ray_resources)
    with _watching(progress, model) as observer:
        result = run_ablation(
            config_from_mapping(config, overrides or {}),
            runs_dir=Path(runs_dir),
            seeds=seeds,
            options=Options(device, workers=_workers(None, model, ray), threads=threads, ray=ray),
            observer=observer,
        )
    _warn(result.data)
    return Ablation(Path(result.sweep_dir), result)


def reproduce(
    name: str,
    *,
    seeds: int | None = None,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    threads: int | None = None,
    executor: Executor = "local",
    ray_address: str | None = None,
    ray_gpus: float | None = None,
    ray_resources: Mapping[str, float] | None = None,
    progress: bool | None = None,
) -> Reproduction:
    """Train a published experiment again, as `regrun reproduce` does.

    Args:
        name: One of `regrun list reproductions`.
        seeds: Of each method; default: the reproduction's own.
        runs_dir: Where the runs are stored.
        device: `auto`, `cpu`, `cuda` for all GPUs, `cuda:N`, or several as `cuda:0,1`.
        threads: CPU threads to compute with; default: as many as pay off.
        executor: As in `sweep`, and so the `ray_…`.
        ray_address: `HOST:PORT` or `auto`.
        ray_gpus: How much of a GPU a stack has.
        ray_resources: What else a stack takes of its node.
        progress: As in `train`.

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

    ray = OnRay.asked_for(executor, ray_address, ray_gpus, ray_resources)
    found = find(name)
    with _watching(progress) as observer:
        result = run_reproduction(
            name,
            found,
            runs_dir=Path(runs_dir),
            seeds=seeds,
            options=Options(device, threads=threads, ray=ray),
            observer=observer,
        )
    return Reproduction(Path(result.runs_in[0]).parent, result)


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


def compare(*directories: str | PathLike[str]) -> pd.DataFrame:
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
        return cells_frame([cell.summarize() for cell in StoredSweep(SweepDir(paths[0])).cells])
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
    return cells_frame([cell.summarize() for cell in group_by_setting(finished)])


def load_model(
    directory: str | PathLike[str],
    average: Literal["ema", "swa"] | None = None,
    model: type[nn.Module] | None = None,
) -> nn.Module:
    """Load the trained network of a run as an ordinary module, in evaluation mode, on the CPU.

    Inputs are as the network saw them in training: standardised, images as floats. Where targets
    were standardised, it predicts those. The attribute `preprocessing` of the module says how raw
    ones become such; `load_predictor` applies it, both ways. For two classes the one output is the
    logit of the second class, unless the loss needs two.

    Args:
        directory: Where the run is stored.
        average: With these averages of the weights instead.
        model: The class that it was trained with, if it was given one.

    Returns:
        The module.

    Raises:
        UsageError: There is no run, or it stored no such weights.
        CorruptInputError: A file is damaged.
        StorageError: A file cannot be read.

    >>> import tempfile, torch
    >>> config = {
    ...     "dataset": {"name": "digits"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.1},
    ...     "training": {"epochs": 1},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     model = load_model(train(config, runs_dir=runs).directory)
    >>> model(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """
    from regrun.execution.restore import restore_model

    check_is_no_collection(Path(directory))
    with giving(model):
        return restore_model(Path(directory), average)


def load_predictor(
    directory: str | PathLike[str],
    average: Literal["ema", "swa"] | None = None,
    device: str = "auto",
    model: type[nn.Module] | None = None,
) -> Predictor:
    """Load the trained network of a run, or those of the best cell of a sweep, for raw data.

    It takes files, DataFrames and arrays as training did, applies the stored preprocessing, and
    gives class names and probabilities, or numbers on the original scale. Nothing but the directory
    is needed.

    Args:
        directory: Where the run or sweep is stored.
        average: With these averages of the weights instead.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        model: As in `load_model`.

    Returns:
        The predictor; `predict` gives a DataFrame, `score` metrics.

    Raises:
        UsageError: There is nothing trained, or no such weights.
        CorruptInputError: A file is damaged.
        StorageError: A file cannot be read.

    >>> import tempfile, numpy as np
    >>> config = {
    ...     "dataset": {"name": "digits"},
    ...     "model": {"name": "linear"},
    ...     "optimizer": {"name": "sgd", "lr": 0.1},
    ...     "training": {"epochs": 1},
    ... }
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     predictor = load_predictor(train(config, runs_dir=runs).directory)
    >>> len(predictor.predict(np.zeros((5, 64))))
    5
    """
    from regrun.sweeps import ensemble

    with giving(model):
        return ensemble.load_predictor(Path(directory), average, device)
