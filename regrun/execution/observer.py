"""What a run reports to the outside: to the terminal, or to nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regrun.results import DataCard, RunSummary


@dataclass(frozen=True)
class Start:
    """What is about to be trained: one run, the stacks of a sweep's round, or a path.

    directory: of the run, sweep or path. total_steps: over all members. stacks: 0 for a single run.
    workers: processes; 0 trains in this one. unit: what is counted, other than steps.
    """

    directory: str
    device: str
    total_steps: int
    notes: Sequence[str]
    epochs: int = 0
    members: int = 1
    stacks: int = 0
    workers: int = 0
    unit: str = "step"
    data: DataCard | None = None
    """None for a sweep whose cells differ in their data."""


class Observer:
    """Is notified of what happens and ignores it; subclasses show it."""

    def on_start(self, start: Start) -> None:
        """Training begins."""

    def on_progress(self, step: int, total_steps: int) -> None:
        """Training goes on; called a few times a second."""

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        """A line of `metrics.jsonl`, of a run that trains alone."""

    def on_end(self, summary: RunSummary) -> None:
        """A run is over; its summary is stored."""

    def on_message(self, text: str) -> None:
        """Something the user should know."""
