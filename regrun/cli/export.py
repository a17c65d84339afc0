"""`regrun export`: a network for other programs, or the runs of a sweep as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regrun.cli.console import print_json, say
from regrun.cli.options import Json, Plugins, RunDirectory
from regrun.errors import UsageError
from regrun.store.atomic import write_atomic
from regrun.store.sweep_dir import SweepDir

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".parquet")


def export(
    directory: RunDirectory,
    output: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=".onnx or .pt2 (torch.export) of a run; .csv or .parquet of a sweep's runs.",
            show_default=False,
        ),
    ],
    average: Annotated[
        str | None,
        typer.Option("--average", metavar="ema|swa", help="Use these averaged weights."),
    ] = None,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """Write a run's network, with its preprocessing, or a sweep's table to a file."""
    suffix = output.suffix.lower()
    if SweepDir(directory).config.is_file():
        if suffix not in TABLES:
            raise UsageError(f"{output}: a sweep is exported as {' or '.join(TABLES)}")
        write_atomic(output, _table(directory, suffix))
    else:
        from regrun.execution.export import FORMATS, export_network

        if suffix not in FORMATS:
            raise UsageError(f"{output}: a network is exported as {' or '.join(FORMATS)}")
        if average not in (None, "ema", "swa"):
            raise UsageError(f"--average {average}: neither ema nor swa")
        write_atomic(output, export_network(directory, suffix, average))
    if as_json:
        print_json({"output": str(output)})
    else:
        say(f"output     {output}")


def _table(directory: Path, suffix: str) -> bytes:
    from regrun.analysis.sweeps import runs_frame

    runs = runs_frame(SweepDir(directory))
    return _parquet(runs) if suffix == ".parquet" else runs.to_csv(index=False).encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    """Values of several types in one column, such as 0.1 and "auto", become text."""
    for name in frame.columns:
        if frame[name].dtype == object:
            frame[name] = [None if value is None else str(value) for value in frame[name]]
    content: bytes = frame.to_parquet(index=False)
    return content
