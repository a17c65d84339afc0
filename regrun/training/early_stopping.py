"""Early stopping of one member (Prechelt 1998): patience, minimum improvement, best evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from regrun.config.training import EarlyStopping
from regrun.metrics import Metric
from regrun.training.events import Row


@dataclass
class EarlyStopper:
    """The history of one member's metric, reduced to what decides when to stop.

    best: the best value so far times the metric's sign, so that lower is better.
    """

    section: EarlyStopping
    best: float | None = None
    best_row: Row | None = None
    waited: int = 0

    def improved(self, row: Row) -> bool:
        """Record one evaluation; True when it is a new best by more than `min_delta`."""
        value = row.get(self.section.metric)
        if value is None:  # the metric of an average that has not started
            return False
        score = Metric.from_name(self.section.metric).sign * value
        if self.best is None or score < self.best - self.section.min_delta:
            self.best, self.best_row, self.waited = score, row, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether there was no improvement for `patience` evaluations."""
        return self.waited >= self.section.patience

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain data."""
        return {"best": self.best, "best_row": self.best_row, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.best, self.best_row, self.waited = state["best"], state["best_row"], state["waited"]
