"""Early stopping of one member (Prechelt 1998): patience, min delta, the best evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from regrun.config.training import EarlyStopping
from regrun.metrics import sign_of
from regrun.training.events import Row


@dataclass
class Patience:
    """How one member's metric has fared. best: in the direction where lower is better."""

    section: EarlyStopping
    best: float | None = None
    best_row: Row | None = None
    waited: int = 0

    def improved(self, row: Row) -> bool:
        """Take in one evaluation; True when it is a new best by more than min_delta."""
        value = row.get(self.section.metric)
        if value is None:  # of an average that has not begun
            return False
        score = sign_of(self.section.metric) * value
        if self.best is None or score < self.best - self.section.min_delta:
            self.best, self.best_row, self.waited = score, row, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """No improvement for `patience` evaluations."""
        return self.waited >= self.section.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"best": self.best, "best_row": self.best_row, "waited": self.waited}
