"""What to do about runs that have not ended."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from regrun.store.reading import StoredRun
from regrun.store.study import find_studies, summary_of
from regrun.store.sweep_dir import SweepDir


def advice(runs: Iterable[StoredRun]) -> list[str]:
    """A line for each sweep with unfinished runs, and for each other unfinished run.

    What is running is not to be resumed, and a member of a sweep only with the sweep.
    """
    sweeps: dict[Path, list[StoredRun]] = {}
    lines = []
    for run in runs:
        if run.summary is not None:
            continue
        if SweepDir(run.path.parent).config.is_file():
            sweeps.setdefault(run.path.parent, []).append(run)
        else:
            lines.append(f"{run.path}: {_how_it_goes_on(run.status, run.path)}")
    for sweep, members in sweeps.items():
        count = f"{len(members):,} run{'s' if len(members) > 1 else ''}"
        lines.append(f"{sweep}: {count} {_how_it_goes_on(members[0].status, sweep)}")
    return lines


def advice_on_studies(folder: Path) -> list[str]:
    """A line for each unfinished path and reproduction below a folder; ablations are sweeps."""
    found = find_studies(folder, lambda damage: None)  # `regrun list runs` names what is damaged
    studies = [(path, summary_of(path, study)) for path, study in found]
    return [
        f"{path}: {study.study} {_how_it_goes_on(study.status, path)}"
        for path, study in studies
        if study.status != "completed" and study.study != "ablate"
    ]


def _how_it_goes_on(status: str, directory: Path) -> str:
    """How it stands with what is unfinished, and with what command it goes on."""
    if status == "running":
        return "running"
    return f"{status}; to finish it: regrun resume {shlex.quote(str(directory))}"
