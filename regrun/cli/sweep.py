"""`regrun sweep`: many runs, trained as few stacks."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from regrun.analysis.sweeps import StoredSweep
from regrun.cli import options as opt
from regrun.cli.cell_report import csv_rows, sweep_report
from regrun.cli.completion import complete_override
from regrun.cli.console import check, documenting, note, print_csv, say, show
from regrun.cli.left_pictures import leave_main_picture
from regrun.cli.progress import watching
from regrun.errors import UsageError
from regrun.results import ClusterPlan, SweepPlan, SweepSummary
from regrun.store.atomic import probe_writable
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.worker_process import start_early

if TYPE_CHECKING:
    from regrun.config.load import Loaded


def sweep(
    config: opt.ConfigPath,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help=(
                "An axis, such as optimizer.lr=0.01,0.1 or model.dropout=0,0.5, which takes the "
                "place of the config's own axis of that key; or one value for all runs."
            ),
            autocompletion=complete_override,
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", min=1, help="Train every cell with this many seeds."),
    ] = None,
    only: Annotated[
        bool, typer.Option("--only", help="Sweep over the axes given here, not over the config's.")
    ] = False,
    confirm: Annotated[
        int | None,
        typer.Option(
            "--confirm",
            metavar="N",
            min=1,
            help="Train the finalists again with this many fresh replicates.",
            show_default=False,
        ),
    ] = None,
    runs_dir: opt.RunsDir = opt.RUNS,
    device: opt.SweepDevice = "auto",
    threads: opt.Threads = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=0,
            help="Worker processes; 0 trains in this one. Default: as many as pay off.",
            show_default=False,
        ),
    ] = None,
    executor: opt.Executor = "local",
    ray_address: opt.RayAddress = None,
    ray_gpus: opt.RayGpus = None,
    ray_resources: opt.RayResources = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop everything when a run fails.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say runs, stacks, memory and time; train nothing.")
    ] = False,
    plugins: opt.Plugins = None,
    as_json: opt.Json = False,
    as_csv: opt.Csv = False,
    wide: opt.Wide = False,
    quiet: opt.Quiet = False,
    allow_large: opt.AllowLarge = False,
) -> None:
    """Train many runs: KEY=V1,V2,V3 adds a grid axis to the config's own."""
    if as_json and as_csv:
        raise UsageError("--json and --csv: give one of them")
    ray = opt.on_ray(executor, ray_address, ray_gpus, ray_resources)
    if ray is not None and workers is not None:
        raise UsageError(f"--workers {workers}: with --executor ray, its nodes have the workers")
    if confirm is not None:
        overrides = [*(overrides or []), f"sweep.confirm={confirm}"]
    from regrun.config.limits import check_runs

    loaded = load_sweep(config, overrides or [], seeds, only=only)
    check_runs(loaded, allow_large=allow_large)
    if not quiet:
        for line in _axes_that_stay(loaded, overrides or []):
            note(line)
    if not dry_run:
        probe_writable(runs_dir)
        if workers != 0 and ray is None:
            start_early(loaded.config.runs)
    with documenting(as_json=as_json), watching(quiet=quiet) as observer:
        # Imports torch, so only now that something is on the screen.
        from regrun.sweeps.run import Options, plan_sweep, run_sweep

        options = Options(device, workers, fail_fast, allow_large, ray, threads)
        result = (
            plan_sweep(loaded, options)
            if dry_run
            else run_sweep(loaded, runs_dir=runs_dir, options=options, observer=observer)
        )
    if isinstance(result, SweepPlan):
        show(result, _plan_report, as_json=as_json)
    else:
        show_sweep(result, as_json=as_json, as_csv=as_csv, wide=wide)


def _axes_that_stay(loaded: Loaded, overrides: list[str]) -> list[str]:
    """That the config's own axes are swept, too, where the command line has others."""
    sweep = loaded.config.sweep
    grid = sweep.grid if sweep else {}
    given = {text.partition("=")[0] for text in overrides}
    stay = [f"{key} ({len(values):,})" for key, values in grid.items() if key not in given]
    if len(stay) in (0, len(grid)):
        return []
    return [f"axes of the config that stay: {', '.join(stay)}; --only leaves them out"]


def load_sweep(
    config: Path, overrides: list[str], seeds: int | None, *, only: bool = False
) -> Loaded:
    """The config with the axes of the command line in its `sweep` section.

    only: without those of the config. Raises ConfigError, and UsageError when there is nothing to
    sweep.
    """
    from regrun.config.load import load_config

    if only and not overrides:
        raise UsageError("--only: give the axes to sweep over, such as optimizer.lr=0.01,0.1")
    if only:
        overrides = ["sweep.grid={}", *overrides]
    if seeds is not None:
        overrides = [*overrides, f"sweep.seeds={seeds}"]
    loaded = load_config(config, overrides, axes=True)
    if loaded.config.sweep is None:
        raise UsageError(
            f"{config} has no sweep section; add an axis, such as optimizer.weight_decay=0,0.1,1, "
            "or --seeds 5"
        )
    return loaded


def show_sweep(
    summary: SweepSummary, *, as_json: bool, as_csv: bool = False, wide: bool = False
) -> None:
    """Print the answers of a sweep; exit code 3 when some runs diverged or failed."""
    if as_csv:
        print_csv(csv_rows(StoredSweep(SweepDir(Path(summary.sweep_dir))).cells))
    else:
        show(summary, partial(sweep_report, wide=wide), as_json=as_json)
    said = leave_main_picture(summary)
    if not as_json and not as_csv:
        say(*said)
    check(summary)


def _cluster_report(plan: ClusterPlan) -> list[str]:
    """Machines that are alike share a line."""
    alike = Counter(
        f"CPU {node.cpus:g}, " + (f"GPU {node.gpus:g}, " if node.gpus else "")
        + f"{decimal(node.memory_bytes)}: {_count(node.slots, 'stack')} at once"
        for node in plan.nodes
    )  # fmt: skip
    return [
        f"cluster    {_count(plan.slots, 'stack')} at once, {_count(plan.rounds, 'round')}, about "
        f"{plan.seconds:.0f} s",
        *(f"{_count(number, 'node'):10} {each}" for each, number in alike.items()),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _plan_report(plan: SweepPlan) -> list[str]:
    memory = max(stack.memory_bytes for stack in plan.stacks)
    members = max(stack.members for stack in plan.stacks)
    examples, histograms = plan.test_examples_bytes, plan.histograms_bytes
    return [
        f"runs       {plan.runs:,} ({plan.cells:,} cells)",
        *([f"confirm    up to {plan.confirmation:,} runs more"] if plan.confirmation else []),
        f"stacks      {len(plan.stacks):,}, of up to {members:,} members",
        f"memory     about {decimal(memory)} for the largest stack",
        f"time       about {plan.seconds:.0f} s on one core, at a rough guess",
        *(_cluster_report(plan.cluster) if plan.cluster else ()),
        *([f"disk       {decimal(examples)} for the results on test examples"] if examples else []),
        *([f"disk       about {decimal(histograms)} for histograms"] if histograms else []),
        *(f"note: {note}" for note in plan.notes),
    ]
