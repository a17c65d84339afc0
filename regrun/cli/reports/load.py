"""A directory → the part of the report on it."""

from __future__ import annotations

import shlex
from pathlib import Path

from regrun.analysis.cells import group_by_setting
from regrun.analysis.sweeps import metric_of_cells
from regrun.cli.compare import finished_runs
from regrun.cli.reports.cells import part_of_cells
from regrun.cli.reports.parts import ReportPart
from regrun.cli.reports.studies import part_of_path, part_of_reproduction
from regrun.errors import CorruptInputError, UsageError
from regrun.pictures.subject import Subject, load_subject
from regrun.store.run_dir import RunDir
from regrun.store.study import read_study
from regrun.store.sweep_dir import SweepDir


def load_part(directory: Path, damaged: list[CorruptInputError]) -> ReportPart:
    """What a report says of a directory. damaged: takes what is left out.

    Raises UsageError where nothing has ended, CorruptInputError, StorageError.
    """
    known = len(damaged)
    subject = _load(directory, damaged)
    if subject.path is not None:
        return part_of_path(subject, subject.path, damaged)
    if subject.reproduction is not None:
        return part_of_reproduction(subject, subject.reproduction, damaged)
    return part_of_cells(subject, damaged, known)


def _load(directory: Path, damaged: list[CorruptInputError]) -> Subject:
    """The subject; unfinished and damaged runs of a folder are named and left out."""
    before = len(damaged)
    if _is_folder(directory):
        cells = group_by_setting(finished_runs([directory], damaged))
        return Subject(directory, cells, metric_of_cells(cells))
    subject = load_subject(directory, on_damage=damaged.append)
    studied = subject.path is not None or subject.reproduction is not None
    if not studied and not any(run.summary for cell in subject.cells for run in cell.runs):
        if len(damaged) > before:
            raise damaged[before]
        again = shlex.quote(str(directory))
        raise UsageError(f"{directory}: no run has ended; to carry on: regrun resume {again}")
    return subject


def _is_folder(directory: Path) -> bool:
    """Whether this is no run, sweep or study, but holds some."""
    configs = (SweepDir(directory).config, RunDir(directory).config)
    if not directory.is_dir() or any(each.is_file() for each in configs):
        return False
    return read_study(directory) is None
