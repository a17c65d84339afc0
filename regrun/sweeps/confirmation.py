"""The finalists of a sweep once more, on replicates that took no part in choosing them."""

from __future__ import annotations

from collections.abc import Sequence

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import best_cells, confirmation_of
from regrun.metrics import Metric
from regrun.store.sweep_dir import Round
from regrun.sweeps.space import PlannedCell, identity

FIRST_REPLICATE = 1_000_000
"""Replicates of confirmations are counted from here: no cell ever gets so many."""

MOST_FINALISTS = 10


def to_confirm(
    rounds: Sequence[Round], cells: Sequence[Cell], metric: Metric, wanted: int
) -> tuple[list[PlannedCell], range]:
    """The finalists, and the replicates that their confirmation lacks.

    rounds: of the plan. cells: without the runs of confirmations. wanted: replicates of each
    finalist. A confirmation that the sweep outgrew is not used: its runs may have been looked at.
    """
    going = confirmation_of(rounds)
    missing = wanted - sum(_replicates(each) for each in going)
    first = FIRST_REPLICATE + sum(
        _replicates(each) for each in rounds if each.purpose == "confirmation"
    )
    if missing <= 0:
        return [], range(0)
    known = {
        identity(run.params): PlannedCell(run.cell, run.params)
        for each in going or rounds
        for run in each.runs
    }
    finalists = [*known.values()]
    if not going:
        best = best_cells(cells, metric)[:MOST_FINALISTS]
        finalists = [known[identity(dict(cell.params))] for cell in best]
    return finalists, range(first, first + missing)


def _replicates(confirmation: Round) -> int:
    return len(confirmation.runs) // len({run.cell for run in confirmation.runs})
