"""Early stopping of one member (Prechelt 1998): patience, minimum improvement, best evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from regrun.config.training import EarlyStopping
from regrun.errors import CorruptInputError
from regrun.metrics import Metric
from regrun.training.events import Row
from regrun.training.state import StopperState


@dataclass
class EarlyStopper:
    """The history of one member's metric, reduced to what decides when to stop."""

    section: EarlyStopping
    best_row: Row | None = None
    waited: int = 0

    def improved(self, row: Row) -> bool:
        """Record one evaluation; True when it is a new best by more than `min_delta`."""
        value = row.get(self.section.metric)
        if value is None:  # the metric of an average that has not started
            return False
        sign = Metric.from_name(self.section.metric).sign
        best = None if self.best_row is None else sign * self.best_row[self.section.metric]
        if best is None or sign * value < best - self.section.min_delta:
            self.best_row, self.waited = row, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether there was no improvement for `patience` evaluations."""
        return self.waited >= self.section.patience

    @property
    def state(self) -> StopperState:
        """What a checkpoint keeps."""
        return StopperState(best_row=self.best_row, waited=self.waited)

    def restore(self, state: StopperState) -> None:
        """Continue from a `state`. Raises CorruptInputError for that of another metric."""
        if state.best_row is not None and self.section.metric not in state.best_row:
            raise CorruptInputError(f"best_row: without {self.section.metric}")
        self.best_row, self.waited = state.best_row, state.waited
