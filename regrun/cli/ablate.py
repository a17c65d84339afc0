"""`regrun ablate`: what each ingredient of a config does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import StoredSweep
from regrun.cli.cell_table import cell_table, params_of, shown_metrics
from regrun.cli.columns import Column, side_by_side, width_of
from regrun.cli.conclusions import caption, stopped_by_test
from regrun.cli.console import check, documenting, output, say, show, verbatim
from regrun.cli.format import ratio
from regrun.cli.left_pictures import leave_main_picture
from regrun.cli.options import (
    RUNS,
    AllowLarge,
    ConfigPath,
    Executor,
    Json,
    Overrides,
    Plugins,
    Quiet,
    RayAddress,
    RayGpus,
    RayResources,
    RunsDir,
    SweepDevice,
    Threads,
    Wide,
    on_ray,
)
from regrun.cli.progress import watching
from regrun.cli.request import Request
from regrun.results import AblationResult, Difference
from regrun.settings import flatten
from regrun.store.atomic import probe_writable
from regrun.store.reading import read_document
from regrun.store.study import AblationStudy
from regrun.store.sweep_dir import SweepDir


def ablate(
    config: ConfigPath,
    overrides: Overrides = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", metavar="N", min=1, help="Train every combination with this many seeds."
        ),
    ] = 5,
    runs_dir: RunsDir = RUNS,
    device: SweepDevice = "auto",
    threads: Threads = None,
    executor: Executor = "local",
    ray_address: RayAddress = None,
    ray_gpus: RayGpus = None,
    ray_resources: RayResources = None,
    plugins: Plugins = None,
    as_json: Json = False,
    wide: Wide = False,
    quiet: Quiet = False,
    allow_large: AllowLarge = False,
) -> None:
    """Train all ingredients, each left out, each alone and none; show each one's effect."""
    from regrun.config.load import load_config

    ray = on_ray(executor, ray_address, ray_gpus, ray_resources)
    loaded = load_config(config, overrides or [])
    probe_writable(runs_dir)
    with documenting(as_json=as_json), watching(quiet=quiet) as observer:
        from regrun.studies.ablation import ablate as run_ablation
        from regrun.sweeps.run import Options

        options = Options(device, allow_large=allow_large, threads=threads, ray=ray)
        result = run_ablation(
            loaded, runs_dir=runs_dir, seeds=seeds, options=options, observer=observer
        )
    _show(result, as_json=as_json, wide=wide)


def carry_on(directory: Path, study: AblationStudy, request: Request) -> None:
    """`regrun resume` of an ablation: what the undisturbed one prints."""
    with documenting(as_json=request.as_json), watching(quiet=request.quiet) as observer:
        from regrun.studies.ablation import resume_ablation
        from regrun.sweeps.run import Options

        result = resume_ablation(
            directory,
            study,
            reload=request.reload(axes=True),
            seeds=request.seeds,
            options=Options(
                request.device or "auto",
                allow_large=request.allow_large,
                threads=request.threads,
                ray=request.ray,
            ),
            observer=observer,
        )
    _show(result, as_json=request.as_json)


def _show(result: AblationResult, *, as_json: bool, wide: bool = False) -> None:
    """Print the effects and draw them; exit code 3 when some runs diverged or failed."""
    show(result, partial(_report, wide=wide), as_json=as_json)
    said = leave_main_picture(result)
    if not as_json:
        say(*said)
    check(result)


def _report(result: AblationResult, *, wide: bool) -> list[RenderableType]:
    directory = Path(result.sweep_dir)
    sweep = SweepDir(directory)
    cells = with_all_keys(StoredSweep(sweep).cells, sweep)
    how = "with over without" if result.effects[0].alone.scale == "log" else "with minus without"
    return [
        *cell_table(cells, result.metric, width=output().width, wide=wide),
        *caption(cells, shown_metrics(cells, result.metric)),
        Text(f"\neffect on {result.metric}: {how}, with 95% intervals of each", "bold"),
        *_effects(result, output().width),
        "* a difference: rotation test, 5% for all stars and statements of the table together",
        *stopped_by_test(cells),
        verbatim(f"sweep      {directory}"),
        verbatim(f"next       regrun compare {directory}"),
    ]


def with_all_keys(cells: Sequence[Cell], sweep: SweepDir) -> list[Cell]:
    """The cells of an ablation, which have only the keys that they change, with those of all."""
    base = flatten(read_document(sweep.config).data)
    keys = params_of(cells)
    return [
        replace(cell, params={key: cell.params.get(key, base.get(key)) for key in keys})
        for cell in cells
    ]


def _effects(result: AblationResult, width: int) -> list[RenderableType]:
    """A row per ingredient; interactions have a table of their own where there is no room."""
    effects = result.effects
    names = Column("ingredient", [each.ingredient for each in effects], is_numeric=False)
    single = [
        Column("in company", [difference_text(each.left_out) for each in effects]),
        Column("alone", [difference_text(each.alone) for each in effects]),
    ]
    remarks = ["acts differently in company" if each.interacts else "" for each in effects]
    both = [
        Column("interaction", [difference_text(each.interaction) for each in effects]),
        Column("", remarks, is_numeric=False),
    ]
    if width_of([names, *single, *both]) <= width:
        return [side_by_side([names, *single, *both], width)]
    return [side_by_side([names, *columns], width) for columns in (single, both)]


def difference_text(difference: Difference) -> str:
    """``-0.12 ± 0.03`` or ``0.62 × [0.55, 0.70]``; a star where the difference is certain."""
    return ratio(difference) + (" *" if difference.is_certain else "")
