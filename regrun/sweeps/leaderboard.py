"""Which cell of a sweep is the best so far, while it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from regrun.analysis.cells import Cell, metric_values
from regrun.execution.observer import Standing
from regrun.metrics import Metric
from regrun.results import Scale
from regrun.store.sweep_dir import PlannedRun
from regrun.sweeps.shared_progress import ENDED, LOST, RUNNING


class Leaderboard:
    """The runs of all rounds so far, each as it was last measured.

    Args:
        metric: What cells are compared by.
        scale: On which scale the values of a cell are averaged.
    """

    def __init__(self, metric: Metric, scale: Scale) -> None:
        self._metric, self._scale = metric, scale
        self._places: dict[str, int] = {}
        """Directory → index of the run."""
        self._cells: dict[int, int] = {}
        """Number of a cell → its index."""
        self._params: list[Mapping[str, Any]] = []
        self._cell = np.empty(0, np.int64)
        """The index of each run's cell; -1 for a run that is no replicate of one."""
        self._values = np.empty(0)
        self._states = np.empty(0, np.int64)

    def add(self, runs: Iterable[PlannedRun], *, compared: bool = True) -> None:
        """Take up the runs of a round. compared: whether they are replicates of their cells."""
        cells = []
        for run in runs:
            self._places[run.directory] = len(self._places)
            if run.cell not in self._cells and compared:
                self._cells[run.cell] = len(self._params)
                self._params.append(run.params)
            cells.append(self._cells[run.cell] if compared else -1)
        self._cell = np.append(self._cell, np.array(cells, np.int64))
        self._values = np.append(self._values, np.full(len(cells), np.nan))
        self._states = np.append(self._states, np.full(len(cells), RUNNING))

    def take(self, runs: Sequence[PlannedRun], values: np.ndarray, states: np.ndarray) -> None:
        """Note how runs stand: (runs,) values, NaN where there is none, and states."""
        places = [self._places[run.directory] for run in runs]
        self._values[places] = values
        self._states[places] = states

    def take_stored(self, cells: Iterable[Cell]) -> None:
        """Note the runs that ended before."""
        for run in (run for cell in cells for run in cell.runs if run.summary is not None):
            place = self._places[run.path.name]
            self._values[place] = metric_values(run.summary).get(self._metric.name, np.nan)
            self._states[place] = ENDED if run.status == "completed" else LOST

    def standing(self) -> Standing:
        """How the sweep stands now. Cells that lost a run are not compared."""
        ended = int((self._states != RUNNING).sum())
        values, found = self._values, self._cell >= 0
        found &= np.isfinite(values)
        lost = np.zeros(len(self._params), bool)
        lost[self._cell[(self._states == LOST) & (self._cell >= 0)]] = True
        values, cells = values[found], self._cell[found]
        log = self._scale == "log" and bool((values > 0).all())
        counts = np.bincount(cells, minlength=len(lost))
        sums = np.bincount(cells, np.log(values) if log else values, minlength=len(lost))
        left = np.flatnonzero((counts > 0) & ~lost)
        if not left.size:
            return Standing(ended, len(self._values), self._metric.name)
        means = sums[left] / counts[left]
        at = int(means.argmin() if self._metric.direction == "minimize" else means.argmax())
        value = float(np.exp(means[at]) if log else means[at])
        return Standing(
            ended,
            len(self._values),
            self._metric.name,
            len(left),
            self._params[left[at]],
            value,
        )
