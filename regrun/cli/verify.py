"""`regrun verify`: check stored runs and sweeps, and rebuild what can be rebuilt."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from regrun.cli.compare import Directories
from regrun.cli.console import notify, show
from regrun.cli.options import Json, Plugins
from regrun.errors import CorruptInputError
from regrun.results import Damage, Verification
from regrun.store.lock import exclusive
from regrun.store.place import Place
from regrun.store.reading import find_runs
from regrun.store.run_dir import CONFIG, RunDir
from regrun.store.study import AblationStudy, read_study, study_places
from regrun.store.sweep_dir import SWEEP, SweepDir
from regrun.store.verification import check_run, check_study, check_sweep, rebuild_events


def verify(
    directories: Directories,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Rebuild summaries and event files from the other files."),
    ] = False,
    as_json: Json = False,
    plugins: Plugins = None,
) -> None:
    """Check that stored runs and sweeps are as they were left; --repair mends some."""
    runs = find_runs(directories)
    folders = dict.fromkeys([*(run.path.parent for run in runs), *directories])
    sweeps = [sweep for sweep in map(SweepDir, folders) if sweep.config.exists()]
    found = [(each, run.place) for run in runs for each in check_run(run)]
    found += [(each, sweep.place) for sweep in sweeps for each in check_sweep(sweep)]
    studies = {str(place): place for root in directories for place in study_places(Place(root))}
    found += [(each, place) for place in studies.values() for each in check_study(place)]
    damage = [_repaired(each, owner) if repair else each for each, owner in found]
    result = Verification(runs=len(runs), sweeps=len(sweeps), studies=len(studies), damage=damage)
    show(result, _report, as_json=as_json)
    if result.remaining:
        raise CorruptInputError(f"{len(result.remaining):,} damaged, see above")


def _repaired(damage: Damage, owner: Place) -> Damage:
    """The damage, repaired if that is possible."""
    if damage.repair is None:
        return damage
    try:
        with exclusive(owner):
            _repair(damage)
    except CorruptInputError as error:
        notify(f"not rebuilt: {error}")
        return damage
    return damage.model_copy(update={"repaired": True})


def _repair(damage: Damage) -> None:
    if damage.repair == "event files":
        rebuild_events(RunDir(Path(damage.path)))
        return
    directory = Path(damage.path).parent
    sweep = SweepDir(directory)
    if sweep.config.exists():
        from regrun.analysis.sweeps import StoredSweep, summarize_sweep

        sweep.reopen()  # after a kill it is an unfinished one, which `resume` ends
        metric = StoredSweep(sweep).metric
        summary = sweep.store_summary(summarize_sweep(sweep, metric, 0.0))
        study = read_study(directory)
        if isinstance(study, AblationStudy):
            from regrun.studies.ablation import with_effects

            with_effects(summary, study)
        return
    from regrun.execution.repair import rebuild_summary

    run = RunDir(directory)
    rebuild_summary(run)
    if check_run(run):
        rebuild_events(run)


def _report(result: Verification) -> list[RenderableType]:
    lines: list[RenderableType] = [_line(each) for each in result.damage]
    counts = f"{_counted(result.runs, 'run')}, {_counted(result.sweeps, 'sweep')}"
    if result.studies:
        counts += f", {result.studies:,} {'studies' if result.studies > 1 else 'study'}"
    ended = f"{len(result.damage):,} damaged" if result.damage else "all as they were left"
    return [*lines, f"{counts}: {ended}"]


def _line(damage: Damage) -> str:
    remedy = "rebuilt" if damage.repaired else f"can be rebuilt: {damage.repair} (--repair)"
    if damage.repair is None:
        remedy = "cannot be rebuilt"
        folder = Path(damage.path).parent
        for name, verb in ((SWEEP, "sweep"), (CONFIG, "train")):
            if (folder / name).is_file() and Path(damage.path).name != name:
                remedy += f"; to train it again: regrun {verb} {shlex.quote(str(folder / name))}"
                break
    return f"{damage.path}: {damage.problem}\n    {remedy}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
