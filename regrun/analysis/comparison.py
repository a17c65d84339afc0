"""Which stored runs are compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regrun.analysis.sweeps import OnDamage
from regrun.errors import CorruptInputError
from regrun.store.reading import StoredRun, find_runs, load_stored_run
from regrun.store.sweep_dir import SweepDir


def runs_to_compare(directories: Sequence[Path], on_damage: OnDamage) -> list[StoredRun]:
    """The runs in the directories and below, finished or not.

    The runs of confirmations are left out: they are no more of their cells' replicates.
    on_damage: receives what is wrong with a run, which is then left out. Raises UsageError for a
    path that is no directory, StorageError.
    """
    found = find_runs(directories)
    left_out: set[Path] = set()
    for sweep in map(SweepDir, dict.fromkeys(run.path.parent for run in found)):
        try:
            rounds = [each for each in sweep.read_rounds() if each.purpose == "confirmation"]
            left_out |= {sweep.run(run).path for each in rounds for run in each.runs}
        except CorruptInputError as damage:  # then nobody knows which of its runs confirm
            on_damage(damage)
            left_out |= {run.path for run in found if run.path.parent == sweep.path}
    runs = []
    for files in found:
        if files.path not in left_out:
            try:
                run = load_stored_run(files)
                if run.config:  # read now, so that all damage is known
                    runs.append(run)
            except CorruptInputError as damage:
                on_damage(damage)
    return runs
