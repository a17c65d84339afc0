"""Which cells come next: all of a grid at once, or batch after batch of a search."""

from __future__ import annotations

from collections.abc import Sequence

from regrun.analysis.cells import Cell
from regrun.config.schema import Config
from regrun.config.sweeps import Sweep
from regrun.metrics import Metric
from regrun.results import Status
from regrun.sweeps.search import Result, Search
from regrun.sweeps.space import PlannedCell, grid_cells


class Proposer:
    """The cells of a sweep, round by round. The stored runs are the truth: it keeps no file."""

    def __init__(self, config: Config, metric: Metric) -> None:
        self._section = config.sweep or Sweep()
        self._seed, self._metric = config.seed, metric
        self._search = None
        if self._section.search:
            self._search = Search(self._section, self._seed, metric.direction)
        self._told = 0

    @property
    def total_cells(self) -> int:
        """How many there will be in all (of a search, at most)."""
        return self._section.trials if self._search else len(self._fixed_cells())

    def take(self, cells: Sequence[Cell]) -> None:
        """Learn from every cell trained so far."""
        if self._search is None or not cells:
            self._told = len(cells)
            return
        results = [_result(cell, self._metric.name) for cell in cells]
        if self._told == 0:
            self._search = Search.replay(self._section, self._seed, results, self._metric.direction)
        else:
            for index, result in enumerate(results[self._told :], start=self._told):
                self._search.tell(index, result.value, result.status, result.epoch)
        self._told = len(cells)

    def propose(self) -> list[PlannedCell]:
        """The next cells; empty when there are none."""
        if self._search is not None:
            return self._search.ask()
        return self._fixed_cells() if self._told == 0 else []

    def _fixed_cells(self) -> list[PlannedCell]:
        if self._section.cells:
            return [PlannedCell(index, params) for index, params in enumerate(self._section.cells)]
        return grid_cells(self._section.grid)


def _result(cell: Cell, metric: str) -> Result:
    """A cell as its search sees it: the mean over its seeds, and the worst of their statuses."""
    statuses = [run.status for run in cell.runs]
    worst: Status = "completed"
    ranks: tuple[Status, ...] = ("pruned", "diverged", "failed")
    for status in ranks:
        if status in statuses:
            worst = status
    values = cell.values(metric)
    mean = sum(values.values()) / len(values) if values else None
    epochs = [run.summary.epochs if run.summary else 0 for run in cell.runs]
    return Result(cell.params, mean, worst, max(epochs, default=0))
