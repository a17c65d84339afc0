"""The terminal as an observer of training. Everything goes to stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from regrun.execution.observer import Observer, Start

if TYPE_CHECKING:
    from rich.console import Console

SECONDS_BETWEEN_LINES = 3.0
"""How often a log file or a pipe gets a line."""


@contextmanager
def watching(*, quiet: bool) -> Iterator[Observer]:
    """An observer that suits stderr: a live bar on a terminal, a line now and then elsewhere."""
    from regrun.cli.console import notices

    if quiet:
        yield Observer()
        return
    console = notices()
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines()
        return
    bar = Bar(console)
    try:
        yield bar
    finally:
        bar.stop()


class Lines(Observer):
    """Plain lines without cursor codes."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._row: Mapping[str, float] = {}
        self._unit = "step"

    def on_start(self, start: Start) -> None:
        self._last, self._unit = time.monotonic(), start.unit
        for text in _opening(start):
            self.on_message(text)

    def on_progress(self, step: int, total_steps: int) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            share = 100 * step / max(total_steps, 1)
            text = f"{self._unit} {step:,} of {total_steps:,} ({share:.0f}%)"
            self.on_message("  ".join([text, *_losses(self._row)]))

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        self._row = row

    def on_message(self, text: str) -> None:
        from regrun.cli.console import notify

        notify(text)


class Bar(Observer):
    """A bar, followed by the latest losses; it disappears at the end."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        losses = TextColumn("{task.fields[losses]}", markup=False)
        columns = (BarColumn(), TaskProgressColumn(), TimeLeft(), losses)
        self._console = console
        self._progress = Progress(*columns, console=console, transient=True, redirect_stdout=False)
        self._task = self._progress.add_task("train", losses="")

    def on_start(self, start: Start) -> None:
        for text in _opening(start):
            self.on_message(text)
        self._progress.reset(self._task, total=start.total_steps, losses="")
        self._progress.start()

    def on_progress(self, step: int, total_steps: int) -> None:
        self._progress.update(self._task, completed=step, total=total_steps)

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        self._progress.update(self._task, losses="  ".join(_losses(row)))

    def on_message(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def stop(self) -> None:
        """Take the bar away and give the cursor back."""
        self._progress.stop()


def _opening(start: Start) -> list[str]:
    what = f"{start.epochs:,} epochs"
    if start.stacks:
        runs = "runs" if start.unit == "step" else f"{start.unit}s"
        what = f"{start.members:,} {runs} in {start.stacks:,} stack{'s' * (start.stacks != 1)}"
    if start.unit == "step":
        what += f", {start.total_steps:,} steps"
    where = f"{start.directory}: {what} on {start.device}"
    if start.workers:
        where += f", {start.workers} workers"
    from regrun.cli.data_report import data_line

    data = [f"data: {data_line(start.data)}"] if start.data is not None else []
    return [where, *data, *(f"note: {note}" for note in start.notes)]


def _losses(row: Mapping[str, float]) -> list[str]:
    from regrun.cli.format import number

    epoch = [f"epoch {row['epoch']:,}"] if "epoch" in row else []
    names = [f"{split}/loss" for split in ("train", "val", "test")]
    return epoch + [f"{name} {number(row[name])}" for name in names if name in row]
