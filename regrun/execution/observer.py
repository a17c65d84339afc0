"""What a run reports to the outside: to the terminal, or to nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regrun.results import DataCard, RunSummary
    from regrun.training.events import Evaluation


@dataclass(frozen=True)
class Start:
    """What is about to be trained: one run, the stacks of a sweep's round, or a path.

    directory: of the run, sweep or path. total_steps: over all members. stacks: 0 for a single run.
    workers: processes; 0 trains in this one. unit: what is counted, other than steps. again: it had
    begun before, in larger stacks.
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
    again: bool = False
    data: DataCard | None = None
    """None for a sweep whose cells differ in their data."""


@dataclass(frozen=True)
class Standing:
    """How a sweep stands, all its rounds together.

    ended, runs: how many are over, of how many that are known of. metric: what cells are compared
    by. cells: how many can be compared. best: the settings of the best of them. value: the mean of
    its runs, each as it was last measured.
    """

    ended: int
    runs: int
    metric: str
    cells: int = 0
    best: Mapping[str, Any] | None = None
    value: float | None = None


class Observer:
    """Is notified of what happens and ignores it; subclasses show it."""

    def on_start(self, start: Start) -> None:
        """Training begins."""

    def on_progress(self, step: int, total_steps: int) -> None:
        """Training goes on; called a few times a second."""

    def on_batch(self, loss: Callable[[], float]) -> None:
        """The same, of a run that trains alone: its loss on the latest batch.

        loss: Waits for the device, so it is asked for only where the number is shown.
        """

    def on_standing(self, standing: Callable[[], Standing]) -> None:
        """The same, of a sweep: how it stands, worked out where that is asked for."""

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        """A line of `metrics.jsonl`, of a run that trains alone."""

    def on_measured(self, evaluation: Evaluation) -> None:
        """An evaluation of all members of a stack."""

    def on_end(self, summary: RunSummary) -> None:
        """A run is over; its summary is stored."""

    def on_message(self, text: str) -> None:
        """Something the user should know."""
