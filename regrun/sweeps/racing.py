"""`search: race`: replicates come in rounds, and cells that are out get no more of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from regrun.analysis.cells import Cell
from regrun.analysis.racing import alpha_of_look, race_survivors
from regrun.metrics import Metric
from regrun.sweeps.space import PlannedCell, Proposal

FIRST = 3
"""Replicates of every cell in the first round: a test can hardly say anything of fewer."""

STEP = 2
"""Replicates of every later round."""


class Race:
    """What a race trains next. It is a function of the results so far, so it keeps nothing.

    start: gives the cells that it begins with. replicates: the most of a cell.
    """

    def __init__(
        self, start: Callable[[], list[PlannedCell]], metric: Metric, replicates: int
    ) -> None:
        self._start, self._metric, self._replicates = start, metric, replicates

    def propose(self, trained: Sequence[Cell], rounds: int) -> Proposal:
        """The next round; without cells when one is left, or all have their replicates.

        trained: all cells so far, with their runs. rounds: those that ended, each with a look.
        """
        if not trained:
            return Proposal(self._start(), range(min(FIRST, self._replicates)))
        done = max(cell.seeds for cell in trained)
        if done >= self._replicates:
            return Proposal([])
        racing = [index for index, cell in enumerate(trained) if cell.seeds == done]
        survivors = self._survivors([trained[index] for index in racing], rounds)
        kept = [racing[each] for each in survivors]
        if len(kept) < 2:
            return Proposal([])
        cells = [PlannedCell(index, dict(trained[index].params)) for index in kept]
        return Proposal(cells, range(done, min(done + STEP, self._replicates)))

    def _survivors(self, cells: Sequence[Cell], look: int) -> list[int]:
        name = self._metric.name
        return race_survivors(
            [cell.values(name) for cell in cells],
            self._metric.direction,
            alpha_of_look(look),
            cells[0].scale(name),
            max(cell.overlap(name) for cell in cells),
        )
