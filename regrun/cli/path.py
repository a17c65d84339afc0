"""`regrun path`: the regularization path of a linear model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from regrun.cli.console import documenting, plotted, show, verbatim
from regrun.cli.data_report import data_line
from regrun.cli.format import number, table
from regrun.cli.options import (
    RUNS,
    AllowLarge,
    ConfigPath,
    Device,
    Json,
    Overrides,
    Plugins,
    Quiet,
    RunsDir,
    Threads,
)
from regrun.cli.plot import axis_plot
from regrun.cli.progress import watching
from regrun.cli.request import Request
from regrun.metrics import SPLITS
from regrun.results import PathResult
from regrun.store.atomic import probe_writable
from regrun.store.study import PathStudy


def path(
    config: ConfigPath,
    overrides: Overrides = None,
    number: Annotated[
        int, typer.Option("--number", metavar="N", min=2, help="How many strengths.")
    ] = 100,
    ratio: Annotated[
        float,
        typer.Option(
            "--ratio", metavar="R", min=1e-9, max=0.999, help="The weakest over the strongest."
        ),
    ] = 1e-3,
    folds: Annotated[
        int, typer.Option("--folds", metavar="N", min=2, help="Of the cross-validation.")
    ] = 5,
    runs_dir: RunsDir = RUNS,
    device: Device = "auto",
    threads: Threads = None,
    plugins: Plugins = None,
    as_json: Json = False,
    quiet: Quiet = False,
    allow_large: AllowLarge = False,
) -> None:
    """Every strength from "all weights zero" down, with the best by cross-validation."""
    from regrun.config.load import load_config

    loaded = load_config(config, overrides or [])
    probe_writable(runs_dir)
    with documenting(as_json=as_json), watching(quiet=quiet) as observer:
        from regrun.studies.path import run_path

        result = run_path(
            loaded,
            runs_dir=runs_dir,
            number=number,
            ratio=ratio,
            folds=folds,
            device=device,
            threads=threads,
            observer=observer,
            allow_large=allow_large,
        )
    show(result, _report, as_json=as_json)


def carry_on(directory: Path, study: PathStudy, request: Request) -> None:
    """`regrun resume` of a path: what the undisturbed one prints."""
    request.refuse_replicates(directory, "a path")
    request.refuse_ray(directory, "a path")
    with documenting(as_json=request.as_json), watching(quiet=request.quiet) as observer:
        from regrun.studies.path import resume_path

        result = resume_path(
            directory,
            study,
            reload=request.reload(axes=False),
            device=request.device,
            threads=request.threads,
            observer=observer,
        )
    show(result, _report, as_json=request.as_json)


SHOWN = 12
"""Rows of the table on a terminal; path.csv has all."""


def _report(path: PathResult) -> list[RenderableType]:
    strengths, metrics, best = path.strengths, path.metrics, path.best
    columns = [tag for tag in metrics if tag.endswith("/loss")]
    step = max(1, -(-len(strengths) // SHOWN))
    named = {best.strength: "lowest cv loss", best.one_standard_error: "one standard error"}
    if len(named) == 1:
        named = {best.strength: "lowest cv loss, one standard error"}
    rows = []
    for index, strength in enumerate(strengths):
        if index % step and strength not in named and index != len(strengths) - 1:
            continue
        losses = [number(metrics[tag][index]) for tag in columns]
        nonzeros = str(path.nonzeros[index])
        rows.append((number(strength), nonzeros, *losses, named.get(strength, "")))
    headers = ("strength", "non-zeros", *(tag.replace("/", " ") for tag in columns), "")
    strengths_table = table(headers, rows)
    strengths_table.pad_edge = True
    rising = strengths[::-1]
    names = [f"{split}/loss" for split in SPLITS if f"{split}/loss" in metrics]
    curves = {name: (rising, metrics[name][::-1]) for name in names}
    return [
        strengths_table,
        *(f"note: {note}" for note in path.notes),
        *plotted(axis_plot, curves, "strength"),
        *([f"data       {data_line(path.data)}"] if path.data else []),
        verbatim(f"path       {path.path_dir}"),
        verbatim(f"pictures   {path.path_dir}/path.png, path.svg; table: path.csv"),
    ]
