"""`regrun sweep`: many runs, trained as few stacks."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regrun.cli.options import RUNS, ConfigPath, Device, Json, Overrides, Quiet, RunsDir

if TYPE_CHECKING:
    from regrun.config.load import Loaded


def sweep(
    config: ConfigPath,
    overrides: Overrides = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Train every cell with this many seeds.")
    ] = None,
    runs_dir: RunsDir = RUNS,
    device: Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            help="Worker processes; 0 trains in this one. Default: as many as pay off.",
            show_default=False,
        ),
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop everything when a run fails.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say runs, packs, memory and time; train nothing.")
    ] = False,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the cells as CSV.")] = False,
    quiet: Quiet = False,
    allow_large: Annotated[
        bool,
        typer.Option("--allow-large", help="Try even what seems too large for this machine."),
    ] = False,
) -> None:
    """Train many runs: KEY=V1,V2,V3 adds a grid axis to the config's own."""
    from regrun.cli.console import documenting, print_json
    from regrun.cli.progress import watching
    from regrun.errors import UsageError
    from regrun.store.atomic import probe_writable
    from regrun.sweeps.worker_process import start_early

    if as_json and as_csv:
        raise UsageError("--json and --csv: give one of them")
    loaded = load_sweep(config, overrides or [], seeds)
    if not dry_run:
        probe_writable(runs_dir)
        if workers != 0:
            start_early(loaded.config.runs)
    with documenting(as_json=as_json), watching(quiet=quiet) as observer:
        from regrun.sweeps.run import Options, plan_sweep, run_sweep

        options = Options(device, workers, fail_fast, allow_large)
        if dry_run:
            plan = plan_sweep(loaded, options)
        else:
            document = run_sweep(loaded, runs_dir=runs_dir, options=options, observer=observer)
    if dry_run:
        print_json(plan) if as_json else _show_plan(plan)
    else:
        show_sweep(document, as_json=as_json, as_csv=as_csv)


def load_sweep(config: Path, overrides: list[str], seeds: int | None) -> Loaded:
    """The config with the axes of the command line in its `sweep` section.

    Raises ConfigError, and UsageError when there is nothing to sweep.
    """
    from regrun.config.load import load_config
    from regrun.errors import UsageError

    if seeds is not None:
        overrides = [*overrides, f"sweep.seeds={seeds}"]
    loaded = load_config(config, overrides, axes=True)
    if loaded.config.sweep is None:
        raise UsageError(
            f"{config} has no sweep section; add an axis, such as optimizer.weight_decay=0,0.1,1, "
            "or --seeds 5"
        )
    return loaded


def show_sweep(document: dict[str, Any], *, as_json: bool, as_csv: bool = False) -> None:
    """Print the answers of a sweep; exit code 3 when some runs diverged or failed."""
    from regrun.cli.console import print_json

    if as_json:
        print_json(document)
    elif as_csv:
        from regrun.analysis.sweeps import sweep_cells
        from regrun.cli.comparison import csv_rows
        from regrun.store.sweep_dir import SweepDir

        rows = csv_rows(sweep_cells(SweepDir(Path(document["sweep_dir"]))))
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    else:
        from regrun.cli.console import say
        from regrun.cli.sweep_report import sweep_report

        for part in sweep_report(document):
            say(part)
    if document["diverged"] or document["failed"] or document["unfinished"]:
        raise typer.Exit(3)


def _show_plan(plan: dict[str, Any]) -> None:
    from regrun.cli.console import say
    from regrun.cli.numbers import in_units

    packs = plan["packs"]
    largest = max(packs, key=lambda pack: pack["memory_bytes"])
    say(f"runs       {plan['runs']:,} ({plan['cells']:,} cells)")
    say(f"packs      {len(packs):,}, of up to {max(pack['members'] for pack in packs):,} members")
    say(f"memory     about {in_units(largest['memory_bytes'])} for the largest pack")
    say(f"time       about {plan['seconds']:.0f} s on one core, at a rough guess")
