"""`regrun ablate`: what each ingredient of a config does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from regrun.cli.options import RUNS, ConfigPath, Device, Json, Overrides, Quiet, RunsDir


def ablate(
    config: ConfigPath,
    overrides: Overrides = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Train every combination with this many seeds.")
    ] = 5,
    runs_dir: RunsDir = RUNS,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train all ingredients, each left out, each alone and none; show each one's effect."""
    from regrun.cli.console import show
    from regrun.cli.progress import watching
    from regrun.config.load import load_config
    from regrun.store.atomic import probe_writable

    loaded = load_config(config, overrides or [])
    probe_writable(runs_dir)
    with watching(quiet=quiet) as observer:
        from regrun.studies.ablation import ablate as run_ablation
        from regrun.sweeps.run import Options

        document = run_ablation(
            loaded,
            runs_dir=runs_dir,
            seeds=seeds,
            options=Options(device=device),
            observer=observer,
        )
    show(document, _report, as_json=as_json)
    if document["diverged"] or document["failed"]:
        raise typer.Exit(3)


def _report(document: Mapping[str, Any]) -> list[Any]:
    from rich.table import Table
    from rich.text import Text

    from regrun.analysis.sweeps import sweep_cells
    from regrun.cli.comparison import comparison_table
    from regrun.store.sweep_dir import SweepDir

    directory = Path(document["sweep_dir"])
    table = Table("ingredient", box=None, pad_edge=False)
    for header in ("in company", "alone", "interaction"):
        table.add_column(header, justify="right")
    table.add_column("")
    for effect in document["effects"]:
        table.add_row(
            Text(effect["ingredient"]),
            *(Text(_difference(effect[part])) for part in ("left_out", "alone", "interaction")),
            Text("acts differently in company" if effect["interacts"] else ""),
        )
    return [
        comparison_table(sweep_cells(SweepDir(directory))),
        Text(
            f"\neffect on {document['metric']}: with minus without, 95% interval over seeds", "bold"
        ),
        table,
        Text(f"sweep      {directory}"),
        Text(f"next       regrun compare {directory}"),
    ]


def _difference(difference: Mapping[str, Any]) -> str:
    """``-0.12 ± 0.03``; a star when the interval does not hold 0."""
    from regrun.analysis.statistics import Interval
    from regrun.cli.numbers import plus_minus

    low, high = difference["low"], difference["high"]
    star = " *" if low is not None and (low > 0 or high < 0) else ""
    return plus_minus(Interval(difference["mean"], low, high, difference["n"])) + star
