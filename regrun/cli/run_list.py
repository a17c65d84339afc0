"""`regrun list runs`: what was trained, sweep by sweep, the latest last."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from regrun.cli.columns import Column, side_by_side, width_of
from regrun.cli.console import notify, output, print_json, say
from regrun.cli.format import number
from regrun.errors import CorruptInputError, UsageError
from regrun.results import StudySummary, SweepSummary
from regrun.store.reading import StoredRun, find_runs, load_result, load_stored_run
from regrun.store.run_dir import RunDir
from regrun.store.study import find_studies, summary_of
from regrun.store.sweep_dir import SweepDir


@dataclass(frozen=True)
class _Line:
    path: str
    date: float
    status: str
    result: str


def list_runs(runs_dir: Path, name: str | None, *, as_json: bool) -> None:
    """Print runs and sweeps below the runs directory, or below one folder of it.

    name: a folder, as it is or within runs_dir; of a sweep its runs are listed.
    """
    folder = runs_dir if name is None else _folder(runs_dir, name)
    damaged: list[CorruptInputError] = []
    found = find_runs([folder]) if folder.is_dir() else []
    studies = (
        [
            summary_of(path, study)
            for path, study in find_studies(folder, damaged.append)
            if path != folder or not found  # of an ablation that was named its runs are listed
        ]
        if folder.is_dir()
        else []
    )
    if as_json:
        runs = [run for run in (_loaded(files, damaged) for files in found) if run is not None]
        print_json([*(run.result for run in runs), *studies])
    elif found or studies:
        say(*_report(_with_studies(_lines(found, folder, damaged), studies)))
    elif not damaged:
        say(f"No runs in {folder}. To make one: regrun train CONFIG")
    if damaged:
        for damage in damaged:
            notify(f"{damage}; left out")
        command = f"regrun verify {shlex.quote(str(folder))}"
        raise CorruptInputError(f"{len(damaged):,} damaged; to check all files: {command}")


def _with_studies(lines: list[_Line], studies: Sequence[StudySummary]) -> list[_Line]:
    """The lines with those of studies, the latest last."""
    for study in studies:
        path = Path(study.study_dir)
        known = next((line for line in lines if Path(line.path) == path), None)
        if known is not None:  # an ablation is a sweep, too
            lines.remove(known)
            status = f"{study.study} {study.status}: {known.status.removeprefix('sweep: ')}"
            lines.append(replace(known, status=status))
        else:
            lines.append(_Line(str(path), _date(path), f"{study.study} {study.status}", ""))
    return sorted(lines, key=lambda line: line.date)


def _folder(runs_dir: Path, name: str) -> Path:
    for path in (Path(name), runs_dir / name):
        if path.is_dir():
            return path
    raise UsageError(f"{name}: no such folder, neither here nor in {runs_dir}")


def _loaded(files: RunDir, damaged: list[CorruptInputError]) -> StoredRun | None:
    """A run; None when it is damaged."""
    try:
        return load_stored_run(files)
    except CorruptInputError as damage:
        damaged.append(damage)
        return None


def _lines(found: Sequence[RunDir], folder: Path, damaged: list[CorruptInputError]) -> list[_Line]:
    """A line for each run, and for each sweep as a whole; in a sweep one for each of its runs."""
    sweeps: dict[Path, list[RunDir]] = {}
    alone = []
    for files in found:
        parent = files.path.parent
        if parent not in sweeps and not SweepDir(parent).config.is_file():
            alone.append(files)
        else:
            sweeps.setdefault(parent, []).append(files)
    if list(sweeps) == [folder] and not alone:
        alone, sweeps = sweeps[folder], {}
    runs = [_loaded(files, damaged) for files in alone]
    lines = [_of_run(run) for run in runs if run is not None]
    for path, members in sweeps.items():
        try:
            lines.append(_of_sweep(SweepDir(path), members))
        except CorruptInputError as damage:
            damaged.append(damage)
    return lines


def _of_run(run: StoredRun) -> _Line:
    metrics = run.result.metrics
    names = ("val/loss", "test/loss", "train/loss")
    name = next((name for name in names if metrics.get(name) is not None), None)
    shown = "" if name is None else f"{name} {number(metrics[name])}"
    return _Line(str(run.path), _date(run.path), run.status, shown)


def _of_sweep(files: SweepDir, members: Sequence[RunDir]) -> _Line:
    summary = load_result(files.summary, SweepSummary)
    if summary is None:
        runs = [load_stored_run(each) for each in members]
        ended = Counter(run.status for run in runs)
        status = ", ".join(f"{count:,} {status}" for status, count in ended.items())
        return _Line(str(files.path), _date(files.path), f"sweep: {status}", "")
    endings = ("completed", "pruned", "diverged", "failed", "unfinished")
    counts = [(getattr(summary, name), name) for name in endings]
    status = "sweep: " + ", ".join(f"{count:,} {name}" for count, name in counts if count)
    best = ""
    if summary.best is not None:
        metric = summary.best.metric
        cell = next((c for c in summary.cells if c.params == summary.best.params), None)
        value = cell.metrics.get(metric) if cell else None
        best = "" if value is None else f"best {metric} {number(value.mean)}"
    return _Line(str(files.path), _date(files.path), status, best)


def _date(directory: Path) -> float:
    """When it ended, or began."""
    for name in ("summary.json", "config.yaml", "sweep.yaml"):
        path = directory / name
        if path.is_file():
            return path.stat().st_mtime
    return directory.stat().st_mtime


def _report(lines: Sequence[_Line]) -> list[RenderableType]:
    """A row each; where paths leave no room, a line for the path and one for the rest."""
    dates = [datetime.fromtimestamp(line.date).strftime("%Y-%m-%d %H:%M") for line in lines]
    columns = [
        Column(title, texts, is_numeric=False)
        for title, texts in (
            ("run", [line.path for line in lines]),
            ("ended", dates),
            ("status", [line.status for line in lines]),
            ("", [line.result for line in lines]),
        )
    ]
    width = output().width
    if width_of(columns) <= width:
        return [side_by_side(columns, width)]
    parts: list[RenderableType] = []
    for line, date in zip(lines, dates, strict=True):
        said = "  ".join(text for text in (date, line.status, line.result) if text)
        parts += [Text(line.path, "bold", no_wrap=True), f"  {said}"]
    return parts
