"""What to do about runs that have not ended."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from regrun.store.reading import StoredRun
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
            lines.append(f"{run.path}: {_state(run, run.path)}")
    for sweep, members in sweeps.items():
        count = f"{len(members):,} run{'s' if len(members) > 1 else ''}"
        lines.append(f"{sweep}: {count} {_state(members[0], sweep)}")
    return lines


def _state(run: StoredRun, directory: Path) -> str:
    """How it stands with an unfinished run, and with what command it goes on."""
    if run.status == "running":
        return "running"
    command = f"regrun resume {shlex.quote(str(directory))}"
    return f"{run.status}; to finish it: {command}"
