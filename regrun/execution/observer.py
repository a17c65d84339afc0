"""What a run reports to the outside: to the terminal, or to nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regrun.results import RunSummary


class Observer:
    """Is notified of what happens and ignores it; subclasses show it."""

    def on_start(self, info: Mapping[str, Any]) -> None:
        """Training begins. info: `run_dir`, `device`, `total_steps`, `members`, `notes`, more."""

    def on_progress(self, step: int, total_steps: int) -> None:
        """Training goes on; called a few times a second."""

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        """A line of `metrics.jsonl`, of a run that trains alone."""

    def on_end(self, summary: RunSummary) -> None:
        """A run is over; its summary is stored."""

    def on_message(self, text: str) -> None:
        """Something the user should know."""
