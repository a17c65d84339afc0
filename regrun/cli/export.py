"""`regrun export`: a network, a table, or runs for the database of another program."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regrun.cli.console import print_json, say, verbatim
from regrun.cli.options import Json, Plugins, RunDirectory
from regrun.errors import UsageError
from regrun.store.atomic import write_atomic
from regrun.store.sweep_dir import SweepDir

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".parquet")

DATABASE, OFFLINE_RUNS = ".db", ".wandb"
"""What takes runs: a database of MLflow, and a folder of W&B."""


def export(
    directory: RunDirectory,
    output: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Of a run: .onnx or .pt2 (torch.export) for its network, .csv or .parquet for its "
            "curves. Of a sweep: a row per run. Of a path: a row per strength. Of runs and "
            "sweeps also .db, an MLflow database, to which the runs are added, or .wandb, a new "
            "folder of offline runs of W&B.",
            show_default=False,
        ),
    ],
    average: Annotated[
        str | None,
        typer.Option("--average", metavar="ema|swa", help="Use these averaged weights."),
    ] = None,
    curves: Annotated[
        bool,
        typer.Option("--curves", help="Of a sweep: a row per run and evaluation."),
    ] = False,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """Write a run's network, with its preprocessing, or a sweep's table to a file."""
    suffix = output.suffix.lower()
    if curves and not (SweepDir(directory).config.is_file() and suffix in TABLES):
        raise UsageError(f"--curves needs a sweep and a file that ends in {' or '.join(TABLES)}")
    next_step = ""
    if suffix in TABLES:
        write_atomic(output, _content(_table(directory, curves=curves), suffix))
    elif suffix == DATABASE:
        from regrun.analysis.mlflow_runs import add_to_database

        count = add_to_database(directory, output)
        next_step = f"mlflow ui --backend-store-uri sqlite:///{output}"
        if not as_json:
            say(f"runs       {count:,} added")
    elif suffix == OFFLINE_RUNS:
        from regrun.analysis.wandb_runs import write_offline_runs

        count = write_offline_runs(directory, output)
        next_step = f"wandb sync {shlex.quote(str(output))}/offline-run-*"
        if not as_json:
            say(f"runs       {count:,} written")
    else:
        write_atomic(output, _network(directory, output, average))
    if as_json:
        print_json({"output": str(output)})
    else:
        say(verbatim(f"output     {output}"))
        say(*([verbatim(f"next       {next_step}")] if next_step else []))


def _network(directory: Path, output: Path, average: str | None) -> bytes:
    from regrun.execution.export import FORMATS, export_network
    from regrun.store.study import PathStudy, read_study

    suffix = output.suffix.lower()
    if SweepDir(directory).config.is_file():
        raise UsageError(
            f"{output}: a sweep is exported as {_listed(*TABLES, DATABASE, OFFLINE_RUNS)}"
        )
    if isinstance(read_study(directory), PathStudy):
        raise UsageError(f"{output}: a path is exported as {_listed(*TABLES)}")
    if suffix not in FORMATS:
        raise UsageError(
            f"{output}: a network is exported as {_listed(*FORMATS)}, "
            f"a run as {_listed(*TABLES, DATABASE, OFFLINE_RUNS)}"
        )
    if average not in (None, "ema", "swa"):
        raise UsageError(f"--average {average}: neither ema nor swa")
    return export_network(directory, suffix, average)


def _table(directory: Path, *, curves: bool) -> pd.DataFrame:
    """The runs or curves of a sweep, the strengths of a path, or the curves of a run."""
    from regrun.analysis.path import path_frame
    from regrun.analysis.sweeps import curves_frame, runs_frame
    from regrun.pictures.subject import load_subject
    from regrun.store.reading import load_stored_run
    from regrun.store.study import PathStudy, read_study

    files = SweepDir(directory)
    if files.config.is_file():
        return curves_frame(files) if curves else runs_frame(files)
    if directory.is_dir() and isinstance(read_study(directory), PathStudy):
        found = load_subject(directory).path
        assert found is not None  # or it raised, as it has not ended
        return path_frame(found)
    return load_stored_run(directory).metrics


def _listed(*suffixes: str) -> str:
    *first, last = suffixes
    return f"{', '.join(first)} or {last}"


def _content(frame: pd.DataFrame, suffix: str) -> bytes:
    return _parquet(frame) if suffix == ".parquet" else frame.to_csv(index=False).encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    """Values of several types in one column, such as 0.1 and "auto", become text."""
    for name in frame.columns:
        if frame[name].dtype == object:
            frame[name] = [None if value is None else str(value) for value in frame[name]]
    content: bytes = frame.to_parquet(index=False)
    return content
